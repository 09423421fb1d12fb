"""WRPO's triples (arXiv 2412.03187, section 3): the best answer of any source, and the best and worst of the target.

For any rule: it says which answers may win and lose and what ranks them; its window applies to the target's own margin.
The paper's rule lets the reward model alone decide (`best_worst_per_source`) and has no window. With a verifier
(`correct_vs_wrong`) both chosen answers pass and the rejected one fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fusion.selection.base import PairPolicy, Selection
from fusion.selection.pairs import candidate_pairs, why_no_answer, why_no_pair
from fusion.selection.scored import answers, best, drops, in_window, rules_of, unclean

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class SelectedTriples:
    """Keys of what was selected, and why every other prompt was not.

    triples: prompt_id, source_chosen_source, source_chosen_index, target_chosen_index, rejected_index, margin,
        source_margin
    drops: prompt_id, reason
    """

    triples: pl.DataFrame
    drops: pl.DataFrame


def select_triples(
    sources: pl.DataFrame, target: pl.DataFrame, prompts: pl.DataFrame, rule: Selection
) -> SelectedTriples:
    """Apply a rule to all prompts, or each domain's rule to its own.

    Args:
        sources: one row a response of a source (see `fusion.selection.base`).
        target: the same of the target's own samples.
        prompts: prompt_id, dataset, domain; every prompt that came in, answered or not.

    Raises:
        ConfigError: a domain has no rule.
    """
    import polars as pl

    made = []
    for part, own in rules_of(prompts, rule):
        is_own = pl.col("domain").is_in(own)
        made.append(_select(sources.filter(is_own), target.filter(is_own), prompts.filter(is_own), part))
    return SelectedTriples(
        pl.concat([one.triples for one in made]).sort("prompt_id"),
        pl.concat([one.drops for one in made]).sort("prompt_id"),
    )


def _select(sources: pl.DataFrame, target: pl.DataFrame, prompts: pl.DataFrame, rule: Selection) -> SelectedTriples:
    import polars as pl

    theirs, own = answers(sources, rule), answers(target, rule)
    picks = best(theirs.whole, ["prompt_id"])
    pairs = candidate_pairs(own.whole, own.losing, replace(rule, pair_policy=PairPolicy.SAME_SOURCE))
    kept = in_window(pairs, rule)
    named = picks.select(
        "prompt_id",
        pl.col("source").alias("source_chosen_source"),
        pl.col("sample_index").alias("source_chosen_index"),
        pl.col("rank").alias("rank_source"),
    )
    triples = kept.join(named, on="prompt_id").select(
        "prompt_id",
        "source_chosen_source",
        "source_chosen_index",
        pl.col("chosen_index").alias("target_chosen_index"),
        "rejected_index",
        "margin",
        (pl.col("rank_source") - pl.col("best")).cast(pl.Float32).alias("source_margin"),
    )
    reasons = [unclean(own), why_no_pair(prompts, own, pairs, kept), unclean(theirs)]
    reasons.append(why_no_answer(prompts, theirs.usable, picks))
    return SelectedTriples(triples, drops(prompts, triples, reasons))
