"""The table of `fusion agree` in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fusion.evaluation.grid import spread
from fusion.evaluation.intervals import Interval
from fusion.evaluation.leaderboard import DASH

if TYPE_CHECKING:
    from fusion.judging.agree import Row

COLUMNS = (
    "set", "part", "rater", "pairs", "agrees, %", "where it decides, %", "same in both orders, %", "first place, %",
    "ties", "undecided",
)  # fmt: skip
READING = (
    "agrees: of pairs that the labels decide, with 95% intervals; a tie of the rater is half right. first place: of "
    "pairs whose orders contradict each other, how often what is shown first wins; 50 is no habit."
)


def show(rows: Sequence[Row], notes: Sequence[str], console: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in COLUMNS[:3] else "right")
    for row in rows:
        cells = [row.title, row.group, row.rater, f"{row.num_pairs:,}"]
        cells += [_percent(one) for one in (row.accuracy, row.accuracy_decided, row.consistency)]
        cells.append(DASH if row.first_place is None else f"{100 * row.first_place:.0f}")
        table.add_row(*(Text(cell) for cell in [*cells, f"{row.num_ties:,}", f"{row.num_undecided:,}"]))
    console.print(table)
    for note in [*notes, READING] if rows else notes:
        console.print(Text(note), soft_wrap=True)


def _percent(found: Interval | None) -> str:
    if found is None:
        return DASH
    return spread(Interval(100 * found.value, 100 * found.low, 100 * found.high))
