"""From scored responses to SFT picks and preference pairs: pure functions over polars frames, for any rule.

Order is total everywhere: ranking reward, then the shorter text, then source order, then sample index. So equal
inputs give equal rows, whatever order they came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.schema import Reason
from fusion.selection.base import PairPolicy, Selection, SourcePair, WindowScale, WithoutPair

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

    domains: dict[int, tuple[Selection, list[str]]] = {}
    for domain, part in rule.parts(prompts["domain"].unique().sort().to_list()).items():
        domains.setdefault(id(part), (part, []))[1].append(domain)
    if len(domains) < 2:
        return _select(frame, prompts, next((part for part, _ in domains.values()), rule))
    made = []
    for part, own in domains.values():
        is_own = pl.col("domain").is_in(own)
        made.append(_select(frame.filter(is_own), prompts.filter(is_own), part))
    return Selected(
        *(pl.concat(tables).sort(tables[0].columns[:2]) for tables in zip(*map(_tables, made), strict=True))
    )


def _tables(selected: Selected) -> tuple[pl.DataFrame, ...]:
    return selected.sft, selected.pairs, selected.sft_drops, selected.pair_drops


def _select(frame: pl.DataFrame, prompts: pl.DataFrame, rule: Selection) -> Selected:
    import polars as pl

    frame = frame.with_columns(rule.rank().alias("rank"), rule.is_ranked().alias("is_ranked"))
    answered = frame.filter((pl.col("length") > 0) & pl.col("rank").is_not_null())
    usable = _clean(answered, rule)
    whole = usable.filter((pl.col("finish_reason") != "length") & rule.chosen())
    losing = usable.filter(rule.rejected())
    if not rule.truncated_rejected:
        losing = losing.filter(pl.col("finish_reason") != "length")
    picks = _best(whole, ["prompt_id"])
    candidates = _candidate_pairs(whole, losing, rule)
    valid = _in_window(candidates, rule)
    kept = _keep_sources(valid, rule)
    phase = _phases(prompts, picks, kept, rule)
    sft = (
        phase.filter(pl.col("phase") == "sft").join(picks, on="prompt_id").select("prompt_id", "source", "sample_index")
    )
    pairs = phase.filter(pl.col("phase") == "pairs").select("prompt_id").join(kept, on="prompt_id")
    unclean = _lacking(answered.select("prompt_id").unique(), usable, Reason.UNCLEAN)
    no_answer = pl.concat([unclean, _why_no_answer(prompts, usable, picks)])
    no_pair = pl.concat([unclean, _why_no_pair(prompts, usable, whole, losing, candidates, kept)])
    return Selected(
        sft.sort("prompt_id"),
        pairs.sort("prompt_id", "pair_index"),
        _drops(prompts, sft, [no_answer, _in_phase(phase, "pairs"), no_pair]),
        _drops(prompts, pairs, [no_pair, _in_phase(phase, "sft")]),
    )


def _clean(frame: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    """Answers that no verifier of `clean_by` fails."""
    import polars as pl

    for verifier in rule.clean_by:
        frame = frame.filter(pl.col(f"outcome:{verifier}").is_null() | (pl.col(f"outcome:{verifier}") != "fail"))
    return frame


def _best(rows: pl.DataFrame, by: list[str], worst: bool = False) -> pl.DataFrame:
    """First row of each group in the total order; `worst` takes the lowest reward, ties as before."""
    import polars as pl

    extreme = pl.col("rank").min() if worst else pl.col("rank").max()
    level = rows.filter(pl.col("rank") == extreme.over(by))  # most rows go, so that few are left to sort
    return level.sort("length", "source_order", "sample_index").unique(subset=by, keep="first", maintain_order=True)


def _candidate_pairs(whole: pl.DataFrame, losing: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    import polars as pl

    same = rule.pair_policy is PairPolicy.SAME_SOURCE
    if rule.pair_policy is PairPolicy.CROSS_SOURCE:
        joined = _of_two_sources(whole, losing)
    else:
        by = ["prompt_id", "source"] if same else ["prompt_id"]
        best, worst = _best(whole, by), _best(losing, by, worst=True)
        joined = _of_two(best.join(worst, on=by, suffix="_rejected"), losing, by)
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
    joined = _best(whole, by).join(_best(losing, by, worst=True), on="prompt_id", suffix="_rejected")
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


def _in_window(candidates: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    import polars as pl

    positive = candidates.filter(pl.col("margin") > 0)
    ranked = positive.filter("is_ranked")
    low, high = rule.window.low, rule.window.high
    if rule.window.scale is WindowScale.QUANTILE and ranked.height:
        margins = ranked["margin"]
        low, high = margins.quantile(low, "linear") or 0.0, margins.quantile(high, "linear") or 0.0
    # A margin is a difference of two fp32 rewards: 0.10 itself must pass.
    return positive.filter(~pl.col("is_ranked") | pl.col("margin").is_between(low - 1e-7, high + 1e-7))


def _keep_sources(valid: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    import polars as pl

    if rule.source_pair is SourcePair.BEST_SOURCE:
        ordered = valid.sort(["prompt_id", "best", "source_order"], descending=[False, True, False])
    elif rule.source_pair is SourcePair.LARGEST_GAP:
        ordered = valid.sort(["prompt_id", "margin", "source_order"], descending=[False, True, False])
    elif rule.source_pair is SourcePair.RANDOM:
        draw = _hash(pl.concat_str("prompt_id", "chosen_source", separator="/"), rule.seed)
        ordered = valid.with_columns(draw.alias("draw")).sort("prompt_id", "draw", "source_order").drop("draw")
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
    ordered = with_pair.with_columns(_hash(pl.col("prompt_id"), rule.seed).alias("draw")).sort(
        "dataset", "draw", "prompt_id"
    )
    position, size = pl.int_range(pl.len()).over("dataset"), pl.len().over("dataset")
    # 1e-9: int(0.4 * N) must not lose a row to the binary form of 0.4.
    is_sft = position < (size * rule.split.sft_frac + 1e-9).floor()
    phase = pl.when(is_sft).then(pl.lit("sft")).otherwise(pl.lit("pairs"))
    split = ordered.select("prompt_id", phase.alias("phase"))
    if rule.split.without_pair is WithoutPair.DROP:
        return split
    rest = picks.select("prompt_id").join(with_pair, on="prompt_id", how="anti")
    if rule.split.without_pair is WithoutPair.DROP_UNLESS_ALL:
        pairless = prompts.join(with_pair.select("dataset").unique(), on="dataset", how="anti")
        rest = rest.join(pairless.select("prompt_id"), on="prompt_id", how="semi")
    return pl.concat([split, rest.with_columns(pl.lit("sft").alias("phase"))])


def _why_no_answer(prompts: pl.DataFrame, usable: pl.DataFrame, picks: pl.DataFrame) -> pl.DataFrame:
    """prompt_id, reason for prompts without an SFT answer: no answer at all, all of them cut off, or none passes."""
    import polars as pl

    cut = usable.group_by("prompt_id").agg((pl.col("finish_reason") == "length").all().alias("all")).filter("all")
    reasons = [
        _lacking(prompts, usable, Reason.NO_RESPONSE),
        cut.select("prompt_id", pl.lit(Reason.TRUNCATED.value).alias("reason")),
        _lacking(prompts, picks, Reason.NO_PASSING_RESPONSE),
    ]
    return _first(reasons).join(picks, on="prompt_id", how="anti")


def _why_no_pair(
    prompts: pl.DataFrame,
    usable: pl.DataFrame,
    whole: pl.DataFrame,
    losing: pl.DataFrame,
    candidates: pl.DataFrame,
    kept: pl.DataFrame,
) -> pl.DataFrame:
    """prompt_id, reason for prompts without a valid pair: the first that applies."""
    import polars as pl

    margins = candidates.group_by("prompt_id").agg(pl.col("margin").max())
    tied = margins.filter(pl.col("margin") == 0)
    reasons = [
        _lacking(prompts, usable, Reason.NO_RESPONSE),
        _lacking(prompts, whole, Reason.NO_PASSING_RESPONSE),
        _lacking(prompts, losing, Reason.NO_FAILING_RESPONSE),
        _lacking(prompts, candidates, Reason.NO_SAME_SOURCE_PAIR),
        tied.select("prompt_id", pl.lit(Reason.TIE.value).alias("reason")),
        _lacking(prompts, kept, Reason.MARGIN_OUTSIDE_WINDOW),
    ]
    return _first(reasons).join(kept, on="prompt_id", how="anti")


def _lacking(prompts: pl.DataFrame, rows: pl.DataFrame, reason: Reason) -> pl.DataFrame:
    import polars as pl

    missing = prompts.join(rows.select("prompt_id").unique(), on="prompt_id", how="anti")
    return missing.select("prompt_id", pl.lit(reason.value).alias("reason"))


def _in_phase(phase: pl.DataFrame, name: str) -> pl.DataFrame:
    import polars as pl

    return phase.filter(pl.col("phase") == name).select("prompt_id", pl.lit(Reason.OTHER_PHASE.value).alias("reason"))


def _first(reasons: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return pl.concat(reasons).unique(subset=["prompt_id"], keep="first", maintain_order=True)


def _drops(prompts: pl.DataFrame, out: pl.DataFrame, reasons: list[pl.DataFrame]) -> pl.DataFrame:
    """prompt_id and first reason of every prompt that is not in `out`."""
    missing = prompts.join(out.select("prompt_id").unique(), on="prompt_id", how="anti").select("prompt_id")
    return missing.join(_first(reasons), on="prompt_id", how="left").sort("prompt_id")


def _hash(column: pl.Expr, seed: int) -> pl.Expr:
    """A stable pseudo-random order: sha256 in Python, since polars does not keep its hash between versions."""
    import hashlib

    import polars as pl

    def draw(values: pl.Series) -> pl.Series:
        digests = [hashlib.sha256(f"{seed}/{value}".encode()).digest()[:8] for value in values]
        return pl.Series([int.from_bytes(digest, "big") for digest in digests], dtype=pl.UInt64)

    return column.map_batches(draw, return_dtype=pl.UInt64)
