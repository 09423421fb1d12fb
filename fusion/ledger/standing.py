"""Why an answer won or did not: its rank among a prompt's candidates under the rule that chose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fusion.selecting import Selecting
from fusion.selection.base import Selection, SourcePair, Split, Window, WindowScale, WithoutPair
from fusion.selection.pairs import select

if TYPE_CHECKING:
    import polars as pl

Unit = tuple[str, int]
"""(source, sample_index)"""

ANY = Window(low=0.0, high=float("inf"))


@dataclass(frozen=True, slots=True)
class Standing:
    """One candidate under the rule.

    Example: Standing(rank=0.141, may_be_chosen=True, may_be_rejected=False, note="best")
    """

    rank: float | None
    """What answers are ranked by; None: not ranked."""
    may_be_chosen: bool
    may_be_rejected: bool
    note: str
    """`best`, how far behind the best it is, or why it may not win."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A pair that could be formed. Example: Rival("qwen", "qwen", 0.03, True)"""

    chosen: Unit
    rejected: Unit
    margin: float
    inside: bool | None
    """Whether its margin lies in the window; None: the window is in quantiles of all pairs."""


def standings(selecting: Selecting, prompt: str, domain: str) -> dict[Unit, Standing]:
    """Every candidate of one prompt, the best first."""
    import polars as pl

    rule = selecting.rule_of(domain)
    ranked = _ranked(selecting.frame.filter(pl.col("prompt_id") == prompt), rule)
    best = next((row for row in ranked.iter_rows(named=True) if row["eligible"]), None)
    return {
        (row["source"], row["sample_index"]): Standing(
            row["rank"], row["eligible"], row["losing"], _note(row, best, rule)
        )
        for row in ranked.iter_rows(named=True)
    }


def rivals(selecting: Selecting, prompt: str, domain: str) -> list[Rival]:
    """Every pair the prompt could have given, whatever the window and the choice of a source, widest margin first."""
    import polars as pl

    rule = selecting.rule_of(domain)
    free = replace(
        rule, window=ANY, source_pair=SourcePair.ALL, split=Split(sft_frac=0.0, without_pair=WithoutPair.DROP)
    )
    is_it = pl.col("prompt_id") == prompt
    pairs = select(selecting.frame.filter(is_it), selecting.prompts.filter(is_it), free).pairs
    window = rule.window
    found = []
    for row in pairs.sort("margin", descending=True).iter_rows(named=True):
        inside = None if window.scale is WindowScale.QUANTILE else window.low <= row["margin"] <= window.high
        chosen, rejected = (row["chosen_source"], row["chosen_index"]), (row["rejected_source"], row["rejected_index"])
        found.append(Rival(chosen, rejected, row["margin"], inside if rule.rank_by else True))
    return found


def described(rule: Selection) -> str:
    """The rule in a line: `CorrectVsWrong, ranked by armorm, pairs of the same source, margin 0.01 to 0.1`."""
    window = rule.window
    unit = "quantiles of all margins" if window.scale is WindowScale.QUANTILE else "the reward's scale"
    parts = [type(rule).__name__, f"ranked by {rule.rank_by}" if rule.rank_by else "a pass ranks above a fail"]
    parts.append(f"pairs: {rule.pair_policy.value.replace('_', ' ')}, kept: {rule.source_pair.value.replace('_', ' ')}")
    if rule.rank_by:
        parts.append(f"margin {window.low:g} to {window.high:g} on {unit}")
    if rule.clean_by:
        parts.append(f"clean by {', '.join(rule.clean_by)}")
    return "; ".join(parts)


def _ranked(frame: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    """Candidates in the total order of `fusion.selection.pairs`, with what the rule allows them to be."""
    import polars as pl

    clean = pl.lit(value=True)
    for verifier in rule.clean_by:
        clean = clean & (pl.col(f"outcome:{verifier}").is_null() | (pl.col(f"outcome:{verifier}") != "fail"))
    whole, usable = pl.col("finish_reason") != "length", (pl.col("length") > 0) & pl.col("rank").is_not_null()
    frame = frame.with_columns(rule.rank().alias("rank"), clean.alias("clean"), whole.alias("whole"))
    frame = frame.with_columns(
        (usable & pl.col("clean") & pl.col("whole") & rule.chosen()).alias("eligible"),
        (usable & pl.col("clean") & (pl.col("whole") | rule.truncated_rejected) & rule.rejected()).alias("losing"),
    )
    order = ["eligible", "rank", "length", "source_order", "sample_index"]
    return frame.sort(order, descending=[True, True, False, False, False], nulls_last=True)


def _note(row: dict[str, object], best: dict[str, object] | None, rule: Selection) -> str:
    if not row["eligible"]:
        faults = {
            "empty": row["length"] == 0,
            "not clean": not row["clean"],
            "cut off": not row["whole"],
            "not ranked": row["rank"] is None,
        }
        return ", ".join(name for name, is_so in faults.items() if is_so) or "does not pass"
    assert best is not None
    if row is best or (row["source"], row["sample_index"]) == (best["source"], best["sample_index"]):
        return "best"
    behind = float(str(best["rank"])) - float(str(row["rank"]))
    if behind > 0:
        return f"{behind:.4g} behind in {rule.rank_by}"
    longer = int(str(row["length"])) - int(str(best["length"]))
    return f"equal, {longer:,} characters longer" if longer else "equal in rank and length, a later source or sample"
