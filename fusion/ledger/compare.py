"""`fusion compare RUN RUN ...`: what several runs trained, on the same prompts, and what each took.

Differences are paired by prompt, as in the table of one run. A sweep ends with this table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from fusion.evaluation.compare import comparison_rows, evaluation_rows
from fusion.evaluation.grid import Grid
from fusion.ledger.contenders import Contender, contenders, spent, used
from fusion.ledger.tables import RunTables
from fusion.report.number_text import p_value, score, signed, signed_span, span

NOTE = (
    "Intervals are 95%, each for itself: of twenty models that gain nothing, one is expected to seem to. p: below 0.05 "
    "where the gain's interval leaves zero out. Time: of a model's own steps and of those that all models share, as "
    "the sources' answers, evaluation left out; what ran side by side counts twice."
)


def compare(arguments: Sequence[str]) -> int:
    """Print the table of two or more finished runs."""
    parser = argparse.ArgumentParser(prog="fusion compare", description="what several runs trained, in one table")
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("names", metavar="run", nargs="+")
    options = parser.parse_args(arguments)
    show_comparison(options.runs, options.names, options.markdown)
    return 0


def show_comparison(runs: str, names: Sequence[str], as_markdown: bool = False) -> None:
    """Raises:
    ConfigError: a run is not finished, or the runs have nothing in common to be compared by.
    """
    grid = comparison([RunTables.open(runs, name) for name in names])
    if as_markdown:
        print(f"{grid.markdown()}\n\n{NOTE}")
        return
    from rich.text import Text

    from fusion.report.terminal import grid_table
    from fusion.wide_console import wide_console

    console = wide_console()
    console.print(grid_table(grid))
    console.print(Text(NOTE, "dim"))


def comparison(runs: Sequence[RunTables]) -> Grid:
    """A row a model: mean over domains, gain over the target, and what it took."""
    base, *trained = contenders(runs)
    account = spent(runs)
    shared = frozenset[str].intersection(*(one.stands_on for one in trained)) if trained else frozenset()
    together = used(shared, account)
    rows = [[base.name, _score(base), "", "", ""]]
    for one in trained:
        gain = comparison_rows(one.name, base.name, one.scores, base.scores)[-1]
        own = used(one.stands_on - shared, account)
        rows.append(
            [
                one.name,
                _score(one),
                f"{signed(_number(gain, 'difference'))} {signed_span(_number(gain, 'low'), _number(gain, 'high'))}",
                p_value(_number(gain, "p_value")),
                f"{own} + {together}",
            ]
        )
    return Grid("Mean over domains", ["model", "score", "gain over base", "p", "took (its own + shared)"], rows)


def _score(one: Contender) -> str:
    overall = evaluation_rows(one.name, one.scores)[-1]
    return f"{score(_number(overall, 'score'))} {span(_number(overall, 'low'), _number(overall, 'high'))}"


def _number(row: dict[str, object], name: str) -> float:
    value = row[name]
    assert isinstance(value, float | int)
    return float(value)
