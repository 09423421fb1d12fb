"""FuseRL (arXiv 2504.06562): every source's best answer, and its best against its worst, each with a weight.

    w_k = exp(R_k / temperature) / sum_j exp(R_j / temperature)      over the sources of one prompt

R_k is the ranking reward of source k's best answer. A source that has no eligible answer to a prompt has no row there,
and the weights of the others sum to 1 all the same. exp(H(w)), the effective number of sources, stands beside them:
equal to their number where the temperature is too high for the reward's scale, 1 where it is so low that one source
takes all, which is the best of all sources again.

The paper also weighs RLOO so. It is left out: its advantages are of answers that the policy samples as it is trained,
and here training reads tables.

SFT on such rows takes the mean over a row's tokens first, as the formula does. So with one source it is plain SFT where
all answers are equally long; else a short answer's tokens weigh more than in plain SFT, whose mean is over tokens.

The formula is taken from an abstract and from memory, not checked against the paper; so is the temperature.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.selection.base import PairPolicy
from fusion.selection.correct_vs_wrong import CorrectVsWrong

if TYPE_CHECKING:
    import polars as pl


@dataclass(kw_only=True)
class EverySource(CorrectVsWrong):
    """Example: EverySource(rank_by="armorm", temperature=0.01)"""

    temperature: float = 0.01
    """Of the softmax over rewards, on the ranking reward's own scale. A guess: ArmoRM's scores lie within 0 and 0.2 and
    the best answers of good sources within 0.02, where a temperature of 1 would give equal weights."""
    correct_by: list[str] = field(default_factory=list)
    """Names of verifiers that decide who may win and lose; none: the reward alone, as in the paper."""
    unverified: bool = True

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError(
                f"selection.temperature must be above 0, got {self.temperature}; near 0 the best source takes all"
            )
        if self.pair_policy is not PairPolicy.SAME_SOURCE:
            raise ConfigError("selection.pair_policy must be same_source: every source has a pair of its own here")

    def weighed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with `weight` and `effective_sources`.

        Args:
            rows: one row a prompt and source, with `prompt_id` and `rank`, the reward of the source's best answer.
        """
        import polars as pl

        scaled = pl.col("rank").cast(pl.Float64) / self.temperature
        raw = (scaled - scaled.max().over("prompt_id")).exp()
        share = raw / raw.sum().over("prompt_id")
        weight = pl.col("weight")
        entropy = -pl.when(weight > 0).then(weight * weight.log()).otherwise(0.0).sum().over("prompt_id")
        return rows.with_columns(share.alias("weight")).with_columns(
            pl.max_horizontal(weight, 1e-30).cast(pl.Float32), entropy.exp().cast(pl.Float32).alias("effective_sources")
        )
