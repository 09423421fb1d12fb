"""A run's view in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fusion.watching.verdict import Verdict
from fusion.watching.view import Row, View

COLOUR = {
    "running": "cyan", "done": "green", "failed": "red", "stopped": "yellow", "waiting": "dim",
    "silent": "yellow", "killed": "red", "interrupted": "yellow",
}  # fmt: skip


def run_panel(view: View) -> RenderableType:
    """Headline, a line a step, the last notices, and what to type."""
    parts: list[RenderableType] = [Text.assemble((view.run, "bold"), "  ", (view.headline, COLOUR[view.verdict]))]
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for folds in (False, False, False, False, True):
        table.add_column(overflow="fold", no_wrap=not folds)
    for row in view.rows:
        table.add_row(
            Text(row.status, COLOUR[row.status]), Text(row.name), Text(row.count), _bar(row), Text(row.detail)
        )
    parts += [table] if view.rows else []
    parts += [Text(f"note  {notice}", "yellow") for notice in view.notices]
    parts += [Text(view.advice)] if view.advice else []
    return Group(*parts)


def runs_table(views: Sequence[View]) -> Table:
    """A line a run."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for view in views:
        table.add_row(Text(view.run), Text(view.headline, COLOUR[Verdict(view.verdict)]))
    return table


def _bar(row: Row) -> RenderableType:
    if row.share is None:
        return Text("")
    return ProgressBar(total=1.0, completed=row.share, width=20)
