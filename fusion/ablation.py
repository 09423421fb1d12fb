"""Which source pays: the selection done again from the stored answers, each time without one of the sources.

Nothing is generated and nothing is scored: rows, margins and quantile windows are recomputed as if the source had never
been asked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fusion.errors import ConfigError
from fusion.run_folder import RunFolder
from fusion.selecting import Selecting
from fusion.selection.pairs import Selected, select

if TYPE_CHECKING:
    import polars as pl

    from fusion.selection.base import Selection

NOTHING = ""
"""In the column `without`: all sources took part."""

ALL = "all domains"


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left of one domain without one source.

    Example: Remains("qwen2_72b", "math", sft=180, pairs=12, prompts=192, lost=0.04, moved=31)
    """

    without: str
    """A source; `NOTHING`: none is left out."""
    domain: str
    """`ALL`: every domain."""
    sft: int
    pairs: int
    prompts: int
    """Prompts that train at all, by an SFT row or a pair."""
    lost: float
    """Share of the prompts that trained with all sources and do not any more."""
    moved: int
    """Prompts that still train, but on another answer or pair."""


def leave_one_out(frame: pl.DataFrame, prompts: pl.DataFrame, rule: Selection, sources: Sequence[str]) -> list[Remains]:
    """Every domain with all sources, and without each.

    Args:
        frame, prompts: as `fusion.selection.pairs.select` takes them.

    Raises:
        ConfigError: there are fewer than two sources, so that nothing would remain.
    """
    import polars as pl

    if len(sources) < 2:
        raise ConfigError(f"there is one source ({', '.join(sources)}); without it nothing would remain")
    whole = select(frame, prompts, rule)
    domains = [ALL, *sorted(prompts["domain"].unique())]
    found = _remains(NOTHING, whole, whole, prompts, domains)
    for source in sources:
        rest = select(frame.filter(pl.col("source") != source), prompts, rule)
        found += _remains(source, rest, whole, prompts, domains)
    return found


def ablate(arguments: Sequence[str]) -> int:
    """`fusion ablate RUN [--json]`"""
    parser = argparse.ArgumentParser(
        prog="fusion ablate", description="select again from the stored answers, without each source in turn"
    )
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("run")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args(arguments)
    selecting = Selecting.of(RunFolder.open(options.runs, options.run).artifacts())
    if selecting is None:
        raise ConfigError(f"run {options.run} selected no training rows, or its answers are gone; nothing to leave out")
    config = selecting.config
    rows = leave_one_out(selecting.frame, selecting.prompts, config.selection, config.sources)
    if options.json:
        for row in rows:
            print(json.dumps({name: getattr(row, name) for name in Remains.__slots__}))
    else:
        Console().print(remains_table(rows))
    return 0


def remains_table(rows: Sequence[Remains]) -> Table:
    """One line a source and domain; the domains of a single-domain run are not repeated."""
    single = len({row.domain for row in rows}) == 2
    table = Table(box=None, pad_edge=False)
    for name in ("without", "domain"):
        table.add_column(name)
    for name in ("SFT rows", "pairs", "prompts", "lost", "other rows"):
        table.add_column(name, justify="right")
    for row in rows:
        if single and row.domain != ALL:
            continue
        lost = "" if row.without == NOTHING else f"{100 * row.lost:.1f}%"
        moved = "" if row.without == NOTHING else f"{row.moved:,}"
        cells = (f"{row.sft:,}", f"{row.pairs:,}", f"{row.prompts:,}", lost, moved)
        table.add_row(Text(row.without or "(all sources)"), Text(row.domain), *cells)
    return table


def _remains(
    without: str, rest: Selected, whole: Selected, prompts: pl.DataFrame, domains: Sequence[str]
) -> list[Remains]:
    domain_of = prompts.select("prompt_id", "domain")
    sft, pairs = rest.sft.join(domain_of, on="prompt_id"), rest.pairs.join(domain_of, on="prompt_id")
    now = _rows_of(rest).join(domain_of, on="prompt_id")
    before = _rows_of(whole).join(domain_of, on="prompt_id")
    gone = before.join(now, on="prompt_id", how="anti")
    changed = before.join(now, on="prompt_id", suffix="_now")
    changed = changed.filter(changed["rows"] != changed["rows_now"])
    found = []
    for domain in domains:
        num_sft, num_pairs, used, had, lost, moved = (
            (table if domain == ALL else table.filter(table["domain"] == domain)).height
            for table in (sft, pairs, now, before, gone, changed)
        )
        found.append(
            Remains(
                without,
                domain,
                sft=num_sft,
                pairs=num_pairs,
                prompts=used,
                lost=lost / had if had else 0.0,
                moved=moved,
            )
        )
    return found


def _rows_of(selected: Selected) -> pl.DataFrame:
    """prompt_id, rows: what a prompt trains on, as one text."""
    import polars as pl

    def text(*columns: str) -> pl.Expr:
        return pl.concat_str([pl.lit("/".join(columns)), *columns], separator=" ").alias("row")

    pairs = selected.pairs.select(
        "prompt_id", text("chosen_source", "chosen_index", "rejected_source", "rejected_index")
    )
    sft = selected.sft.select("prompt_id", text("source", "sample_index"))
    return pl.concat([sft, pairs]).group_by("prompt_id").agg(pl.col("row").sort().str.join("|").alias("rows"))
