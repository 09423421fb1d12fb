"""`fusion show RUN [TABLE]`: rows of a finished run, filtered and sorted."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fusion.errors import ConfigError
from fusion.ledger.conditions import column, kept
from fusion.ledger.tables import RunTables

TEXT_WIDTH = 72
SHORTHANDS = {"source": ("source", "chosen_source"), "domain": ("domain",), "rule": ("rule",)}
"""Option -> the columns it may stand for; of a pair, the source is the chosen answer's."""

USAGE = """examples:
  fusion show quickstart                                  tables and their rows
  fusion show quickstart pairs --source gemma3_270m --where 'margin>0.05' --sort margin --desc
  fusion show quickstart sft --domain gcd --where 'rewards.likelihood<-1' --json
  fusion show quickstart pairs --columns prompt_id,chosen_source,margin --limit 100
  fusion show quickstart rewards --where 'outcome=timeout'
  fusion show quickstart drops --where 'reason=no_failing_response'"""


def show(arguments: Sequence[str]) -> int:
    """Print the tables of a run, or rows of one of them."""
    options = _parser().parse_args(arguments)
    tables = RunTables.open(options.runs, options.run)
    console = Console()
    if options.table is None:
        console.print(_listing(tables.sizes()))
        return 0
    rows = tables.find(options.table)
    names = rows.column_names
    if options.domain and "domain" not in names and "prompt_id" in names:
        rows = _with_domain(rows, tables.domains())
    for name, candidates in SHORTHANDS.items():
        if (value := getattr(options, name)) is not None:
            rows = rows.filter(pc.equal(column(rows, _standing_for(name, candidates, rows)), value))
    for condition in options.where:
        rows = kept(rows, condition)
    rows = _sorted(rows, options.sort, options.desc).select(_columns(options.columns, names))
    shown = rows.slice(0, options.limit)
    if options.json:
        for row in shown.to_pylist():
            print(json.dumps(row, ensure_ascii=False))
        return 0
    console.print(_rich(shown))
    console.print(f"{shown.num_rows:,} of {rows.num_rows:,} rows")
    return 0


def cut(text: str, width: int = TEXT_WIDTH) -> str:
    """One line of a text."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fusion show",
        description="rows of a finished run",
        epilog=USAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("run")
    parser.add_argument("table", nargs="?", help="sft, pairs, responses, rewards, drops/pairs, ...; none: list them")
    parser.add_argument(
        "--where", action="append", default=[], metavar="CONDITION", help="COLUMN=VALUE; != > >= < <= ~"
    )
    parser.add_argument("--source", help="who answered; of a pair, who gave the chosen answer")
    parser.add_argument("--domain")
    parser.add_argument("--rule")
    parser.add_argument("--columns", metavar="A,B,...", help="only these")
    parser.add_argument("--sort", metavar="COLUMN")
    parser.add_argument("--desc", action="store_true", help="the largest first")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="one JSON object a line, whole texts")
    return parser


def _listing(sizes: Mapping[str, int]) -> Table:
    table = Table("table", "rows", box=None)
    for name, rows in sizes.items():
        table.add_row(escape(name), f"{rows:,}")
    return table


def _columns(wanted: str | None, names: Sequence[str]) -> list[str]:
    asked = list(names) if wanted is None else [one.strip() for one in wanted.split(",")]
    if odd := [one for one in asked if one not in names]:
        raise ConfigError(f"--columns: there is no column {odd[0]!r}; there are {', '.join(names)}")
    return asked


def _standing_for(option: str, candidates: Sequence[str], rows: pa.Table) -> str:
    found = [name for name in candidates if name in rows.column_names]
    if not found:
        raise ConfigError(f"--{option}: this table has no such column; it has {', '.join(rows.column_names)}")
    return found[0]


def _with_domain(rows: pa.Table, domains: Mapping[str, str]) -> pa.Table:
    found = [domains.get(prompt) for prompt in rows["prompt_id"].to_pylist()]
    return rows.append_column("domain", pa.array(found, pa.string()))


def _sorted(rows: pa.Table, name: str | None, descending: bool) -> pa.Table:
    """Rows by one column, nothing last; equal ones in the order of their keys."""
    if name is None:
        if descending:
            raise ConfigError("--desc: the largest of what? Name a column, e.g. --sort margin --desc")
        return rows
    order = "descending" if descending else "ascending"
    return rows.take(pc.sort_indices(column(rows, name), sort_keys=[("", order)]))


def _rich(rows: pa.Table) -> Table:
    table = Table(box=None, pad_edge=False, row_styles=["", "dim"])
    for name in rows.schema.names:
        table.add_column(name, overflow="fold")
    for row in rows.to_pylist():
        table.add_row(*(escape(cut(_cell(value))) for value in row.values()))
    return table


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        if "content" in value[0]:
            return str(value[-1]["content"])
        return " ".join(f"{v['reward']}:{v['outcome']}:{_cell(v['value'])}" for v in value)
    return "" if value is None else str(value)
