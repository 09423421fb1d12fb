"""Which quantiles of a reward's margins a published window is, so that another reward can have the same window."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from fusion.calibration import PUBLISHED, quantile_window
from fusion.errors import ConfigError
from fusion.ledger.tables import RunTables
from fusion.selecting import Selecting
from fusion.selection.base import Selection
from fusion.selection.pairs import candidate_pairs
from fusion.selection.scored import answers, rules_of


def calibrate(arguments: Sequence[str]) -> int:
    """`fusion calibrate RUN REWARD [--window LOW HIGH] [--for OTHER]`

    REWARD is the one that the window is meant for (FuseChat-3.0: ArmoRM, 0.01 to 0.1). Margins are those of the pairs
    that each rule would have to choose from (clean, whole, verified where it verifies), were it to rank by REWARD.
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
    console = Console(soft_wrap=True, highlight=False)
    for line in _lines(_selecting(options.runs, options.run), options.reward, tuple(options.window), options.other):
        console.print(line, markup=False)
    return 0


def _lines(selecting: Selecting, reward: str, published: tuple[float, float], other: str | None) -> list[str]:
    """What there is to say of each rule that pairs answers.

    Raises:
        ConfigError: no rule does, or REWARD (or OTHER) was not computed.
    """
    found = []
    for key, rule, domains in _rules(selecting):
        margins = _margins(selecting, rule, domains, reward)
        if not any(margin > 0 for margin in margins):
            continue
        window = quantile_window(margins, published)
        low, high = published
        found.append(f"{', '.join(domains)}: {low:g} to {high:g} of {reward} are {window.words()}")
        found.append(f"type: {window.overrides(key)}")
        if other:
            low, high = window.bounds(_margins(selecting, rule, domains, other))
            found.append(f"between these quantiles lie margins of {other} of {low:.6g} to {high:.6g}")
            bounds = f"{key}.window.low={low:.6g} {key}.window.high={high:.6g} {key}.window.scale=value"
            found.append(f"type: {key}.rank_by={other} {bounds}")
    if not found:
        raise ConfigError(f"by {reward} no answer ranks above another that it could be paired with")
    return found


def _selecting(runs: str, run: str) -> Selecting:
    found = Selecting.of(RunTables.open(runs, run).artifacts)
    if found is None:
        raise ConfigError(f"run {run} selected no pairs; name one that did, e.g. of experiment=replay")
    return found


def _rules(selecting: Selecting) -> list[tuple[str, Selection, list[str]]]:
    """Dotted key, rule and domains of each rule that any prompt went through."""
    whole = selecting.config.selection
    domains = {id(rule): found for rule, found in rules_of(selecting.prompts, whole)}
    return [(key, rule, domains[id(rule)]) for key, rule in whole.by_key().items() if id(rule) in domains]


def _margins(selecting: Selecting, rule: Selection, domains: Sequence[str], reward: str) -> list[float]:
    """Of the pairs that the rule would have to choose from, were it to rank by `reward`."""
    import polars as pl

    frame, column = selecting.frame, f"value:{reward}"
    if column not in frame.columns or not frame[column].count():
        named = [name for name in selecting.config.rewards if frame[f"value:{name}"].count()]
        raise ConfigError(f"the run has no values of reward {reward!r}; it has {', '.join(named)}")
    ranking = replace(rule, rank_by=reward, unranked_by_verdict=False)
    found = answers(frame.filter(pl.col("domain").is_in(domains)), ranking)
    return [float(margin) for margin in candidate_pairs(found.whole, found.losing, ranking)["margin"]]
