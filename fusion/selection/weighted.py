"""FuseRL's rows (arXiv 2504.06562): not one answer a prompt but one a source, with weights that sum to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.selection.every_source import EverySource
from fusion.selection.pairs import candidate_pairs, why_no_answer, why_no_pair
from fusion.selection.scored import answers, best, drops, in_window, unclean

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Weighted:
    """Keys of what was selected, with `weight` and `effective_sources`, and why every other prompt was not.

    rows: prompt_id, source, sample_index; or prompt_id, pair_index, chosen_source, chosen_index, rejected_source,
        rejected_index, margin
    drops: prompt_id, reason
    """

    rows: pl.DataFrame
    drops: pl.DataFrame

    @property
    def mean_effective_sources(self) -> float:
        """Mean over prompts of exp(H(w)); 0 where no prompt is left."""
        prompts = self.rows.unique(subset=["prompt_id"])["effective_sources"]
        return float(prompts.mean() or 0.0)


def weighted_answers(frame: pl.DataFrame, prompts: pl.DataFrame, rule: EverySource) -> Weighted:
    """The best answer of every source to each prompt.

    Args:
        frame: one row a response (see `fusion.selection.base`).
        prompts: prompt_id, dataset, domain; every prompt that came in, answered or not.
    """
    found = answers(frame, rule)
    picks = best(found.whole, ["prompt_id", "source"])
    rows = rule.weighed(picks.select("prompt_id", "source", "sample_index", "rank")).drop("rank")
    reasons = [unclean(found), why_no_answer(prompts, found.usable, picks)]
    return Weighted(rows.sort("prompt_id", "source"), drops(prompts, rows, reasons))


def weighted_pairs(frame: pl.DataFrame, prompts: pl.DataFrame, rule: EverySource) -> Weighted:
    """The best against the worst answer of every source to each prompt, its margin in the rule's window."""
    import polars as pl

    found = answers(frame, rule)
    candidates = candidate_pairs(found.whole, found.losing, rule)
    kept = in_window(candidates, rule).sort("prompt_id", "source_order")
    index = pl.int_range(pl.len()).over("prompt_id").cast(pl.Int32).alias("pair_index")
    rows = rule.weighed(kept.rename({"best": "rank"}).with_columns(index)).drop("rank", "source_order", "is_ranked")
    reasons = [unclean(found), why_no_pair(prompts, found, candidates, kept)]
    return Weighted(rows.sort("prompt_id", "pair_index"), drops(prompts, rows, reasons))
