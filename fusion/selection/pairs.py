"""From scored responses to SFT picks and preference pairs: pure functions over polars frames, for any rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.schema import Reason
from fusion.selection.base import PairPolicy, Selection, SourcePair, WithoutPair
from fusion.selection.scored import (
    Answers,
    answers,
    best,
    draw,
    drawn,
    drops,
    first_reason,
    in_window,
    is_first_share,
    lacking,
    rules_of,
    unclean,
)

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Selected:
    """Keys of what was selected, and why every other prompt was not.

    sft: prompt_id, source, sample_index
    pairs: prompt_id, pair_index, chosen_source, chosen_index, rejected_source, rejected_index, margin
    sft_drops, pair_drops: prompt_id, reason; one row for each prompt that is not in `sft` (in `pairs`)
    """

    sft: pl.DataFrame
    pairs: pl.DataFrame
    sft_drops: pl.DataFrame
    pair_drops: pl.DataFrame


def select(frame: pl.DataFrame, prompts: pl.DataFrame, rule: Selection) -> Selected:
    """Apply a rule to all prompts, or each domain's rule to its own.

    Args:
        frame: one row a response (see `fusion.selection.base`).
        prompts: prompt_id, dataset, domain; every prompt that came in, answered or not.

    Raises:
        ConfigError: a domain has no rule.
    """
    import polars as pl

    rules = rules_of(prompts, rule)
    if len(rules) < 2:
        return _select(frame, prompts, next((part for part, _ in rules), rule))
    made = []
    for part, own in rules:
        is_own = pl.col("domain").is_in(own)
        made.append(_select(frame.filter(is_own), prompts.filter(is_own), part))
    return Selected(
        *(pl.concat(tables).sort(tables[0].columns[:2]) for tables in zip(*map(_tables, made), strict=True))
    )


def _tables(selected: Selected) -> tuple[pl.DataFrame, ...]:
    return selected.sft, selected.pairs, selected.sft_drops, selected.pair_drops


def _select(frame: pl.DataFrame, prompts: pl.DataFrame, rule: Selection) -> Selected:
    import polars as pl

    found = answers(frame, rule)
    usable, whole, losing = found.usable, found.whole, found.losing
    picks = best(whole, ["prompt_id"])
    candidates = candidate_pairs(whole, losing, rule)
    valid = in_window(candidates, rule)
    kept = _keep_sources(valid, rule)
    phase = _phases(prompts, picks, kept, rule)
    sft = (
        phase.filter(pl.col("phase") == "sft").join(picks, on="prompt_id").select("prompt_id", "source", "sample_index")
    )
    pairs = phase.filter(pl.col("phase") == "pairs").select("prompt_id").join(kept, on="prompt_id")
    no_answer = pl.concat([unclean(found), why_no_answer(prompts, usable, picks)])
    no_pair = pl.concat([unclean(found), why_no_pair(prompts, found, candidates, kept)])
    return Selected(
        sft.sort("prompt_id"),
        pairs.sort("prompt_id", "pair_index"),
        drops(prompts, sft, [no_answer, _in_phase(phase, "pairs"), no_pair]),
        drops(prompts, pairs, [no_pair, _in_phase(phase, "sft")]),
    )


def candidate_pairs(whole: pl.DataFrame, losing: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    """Best against worst answer of each prompt (and source), whatever the margin."""
    import polars as pl

    same = rule.pair_policy is PairPolicy.SAME_SOURCE
    if rule.pair_policy is PairPolicy.CROSS_SOURCE:
        joined = _of_two_sources(whole, losing)
    else:
        by = ["prompt_id", "source"] if same else ["prompt_id"]
        highest, lowest = best(whole, by), best(losing, by, worst=True)
        joined = _of_two(highest.join(lowest, on=by, suffix="_rejected"), losing, by)
    rejected_source = pl.col("source") if same else pl.col("source_rejected")
    is_same_text = pl.col("folded") == pl.col("folded_rejected")
    margin = pl.when(is_same_text).then(0.0).otherwise(pl.col("rank") - pl.col("rank_rejected"))
    return joined.select(
        "prompt_id",
        "source_order",
        "is_ranked",
        pl.col("rank").alias("best"),
        pl.col("source").alias("chosen_source"),
        pl.col("sample_index").alias("chosen_index"),
        rejected_source.alias("rejected_source"),
        pl.col("sample_index_rejected").alias("rejected_index"),
        margin.cast(pl.Float32).alias("margin"),
    )


def _of_two_sources(whole: pl.DataFrame, losing: pl.DataFrame) -> pl.DataFrame:
    """Of each prompt the best answer for which another source has one to reject, with the worst of these."""
    import polars as pl

    by = ["prompt_id", "source"]
    joined = best(whole, by).join(best(losing, by, worst=True), on="prompt_id", suffix="_rejected")
    order = ["length", "source_order", "sample_index"]
    order = ["rank", *order, "rank_rejected", *(f"{name}_rejected" for name in order)]
    ordered = joined.filter(pl.col("source") != pl.col("source_rejected")).sort(
        order, descending=[name == "rank" for name in order]
    )
    return ordered.unique(subset=["prompt_id"], keep="first", maintain_order=True)


def _of_two(joined: pl.DataFrame, losing: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Without groups that have one answer only, which cannot be paired with itself."""
    import polars as pl

    itself = pl.col("sample_index") == pl.col("sample_index_rejected")
    if "source_rejected" in joined.columns:
        itself &= pl.col("source") == pl.col("source_rejected")
    alone = (
        losing.join(joined.filter(itself).select(by), on=by, how="semi").group_by(by).len().filter(pl.col("len") == 1)
    )
    return joined.join(alone, on=by, how="anti")


def _keep_sources(valid: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    import polars as pl

    if rule.source_pair is SourcePair.BEST_SOURCE:
        ordered = valid.sort(["prompt_id", "best", "source_order"], descending=[False, True, False])
    elif rule.source_pair is SourcePair.LARGEST_GAP:
        ordered = valid.sort(["prompt_id", "margin", "source_order"], descending=[False, True, False])
    elif rule.source_pair is SourcePair.RANDOM:
        drawn_by = draw(pl.concat_str("prompt_id", "chosen_source", separator="/"), rule.seed)
        ordered = valid.with_columns(drawn_by.alias("draw")).sort("prompt_id", "draw", "source_order").drop("draw")
    else:
        ordered = valid.sort("prompt_id", "source_order")
    if rule.source_pair is not SourcePair.ALL:
        ordered = ordered.unique(subset=["prompt_id"], keep="first", maintain_order=True)
    index = pl.int_range(pl.len()).over("prompt_id").cast(pl.Int32).alias("pair_index")
    return ordered.with_columns(index).drop("best", "is_ranked", "source_order")


def _phases(prompts: pl.DataFrame, picks: pl.DataFrame, kept: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    """prompt_id, phase (sft | pairs) for prompts that train at all."""
    import polars as pl

    with_pair = prompts.join(kept.select("prompt_id").unique(), on="prompt_id", how="semi")
    ordered, is_sft = drawn(with_pair, rule.seed), is_first_share(rule.split.sft_frac)
    phase = pl.when(is_sft).then(pl.lit("sft")).otherwise(pl.lit("pairs"))
    split = ordered.select("prompt_id", phase.alias("phase"))
    if rule.split.without_pair is WithoutPair.DROP:
        return split
    rest = picks.select("prompt_id").join(with_pair, on="prompt_id", how="anti")
    if rule.split.without_pair is WithoutPair.DROP_UNLESS_ALL:
        pairless = prompts.join(with_pair.select("dataset").unique(), on="dataset", how="anti")
        rest = rest.join(pairless.select("prompt_id"), on="prompt_id", how="semi")
    return pl.concat([split, rest.with_columns(pl.lit("sft").alias("phase"))])


def why_no_answer(prompts: pl.DataFrame, usable: pl.DataFrame, picks: pl.DataFrame) -> pl.DataFrame:
    """prompt_id, reason for prompts without an SFT answer: no answer at all, all of them cut off, or none passes."""
    import polars as pl

    cut = usable.group_by("prompt_id").agg((pl.col("finish_reason") == "length").all().alias("all")).filter("all")
    reasons = [
        lacking(prompts, usable, Reason.NO_RESPONSE),
        cut.select("prompt_id", pl.lit(Reason.TRUNCATED.value).alias("reason")),
        lacking(prompts, picks, Reason.NO_PASSING_RESPONSE),
    ]
    return first_reason(reasons).join(picks, on="prompt_id", how="anti")


def why_no_pair(prompts: pl.DataFrame, found: Answers, candidates: pl.DataFrame, kept: pl.DataFrame) -> pl.DataFrame:
    """prompt_id, reason for prompts without a valid pair: the first that applies."""
    import polars as pl

    margins = candidates.group_by("prompt_id").agg(pl.col("margin").max())
    tied = margins.filter(pl.col("margin") == 0)
    reasons = [
        lacking(prompts, found.usable, Reason.NO_RESPONSE),
        lacking(prompts, found.whole, Reason.NO_PASSING_RESPONSE),
        lacking(prompts, found.losing, Reason.NO_FAILING_RESPONSE),
        lacking(prompts, candidates, Reason.NO_SAME_SOURCE_PAIR),
        tied.select("prompt_id", pl.lit(Reason.TIE.value).alias("reason")),
        lacking(prompts, kept, Reason.MARGIN_OUTSIDE_WINDOW),
    ]
    return first_reason(reasons).join(kept, on="prompt_id", how="anti")


def _in_phase(phase: pl.DataFrame, name: str) -> pl.DataFrame:
    import polars as pl

    return phase.filter(pl.col("phase") == name).select("prompt_id", pl.lit(Reason.OTHER_PHASE.value).alias("reason"))
