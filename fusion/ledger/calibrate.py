"""Which quantiles of a reward's margins a published window is, so that another reward can have the same window."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import pyarrow.compute as pc
from rich.console import Console

from fusion.calibration import PUBLISHED, quantile_window, same_source_margins
from fusion.errors import ConfigError
from fusion.ledger.tables import RunTables


def calibrate(arguments: Sequence[str]) -> int:
    """`fusion calibrate RUN REWARD [--window LOW HIGH] [--for OTHER]`

    REWARD is the one that the window is meant for (FuseChat-3.0: ArmoRM, 0.01 to 0.1) and must have scored several
    answers of one source to a prompt in this run; so must OTHER.
    """
    parser = argparse.ArgumentParser(
        prog="fusion calibrate", description="a published window of margins, as quantiles that hold for any reward"
    )
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("run")
    parser.add_argument("reward", help="the reward that the window is meant for, as the run names it: armorm")
    parser.add_argument(
        "--window", type=float, nargs=2, metavar=("LOW", "HIGH"), default=PUBLISHED,
        help=f"margins on its scale; FuseChat-3.0 has {PUBLISHED[0]:g} {PUBLISHED[1]:g}",
    )  # fmt: skip
    parser.add_argument("--for", dest="other", help="another reward of the run: its margins between these quantiles")
    options = parser.parse_args(arguments)
    tables, console = RunTables.open(options.runs, options.run), Console(soft_wrap=True, highlight=False)
    low, high = options.window
    window = quantile_window(_margins(tables, options.reward), (low, high))
    console.print(f"{options.reward}: {low:g} to {high:g} are {window.words()}", markup=False)
    console.print(f"type: {window.overrides()}", markup=False)
    if options.other:
        low, high = window.bounds(_margins(tables, options.other))
        console.print(f"{options.other}: between these quantiles lie margins of {low:.6g} to {high:.6g}", markup=False)
        console.print(
            f"type: selection.rank_by={options.other} selection.window.low={low:.6g} "
            f"selection.window.high={high:.6g} selection.window.scale=value",
            markup=False,
        )
    return 0


def _margins(tables: RunTables, reward: str) -> list[float]:
    rows = tables.find("rewards")
    mine = rows.filter(pc.and_(pc.equal(rows["reward"], reward), pc.is_valid(rows["value"])))
    if not mine.num_rows:
        named = ", ".join(sorted(set(rows["reward"].to_pylist())))
        raise ConfigError(f"run {tables.run.path.name} has no values of reward {reward!r}; it has {named}")
    columns = (mine[name].to_pylist() for name in ("prompt_id", "source", "value"))
    return same_source_margins(zip(*columns, strict=True))
