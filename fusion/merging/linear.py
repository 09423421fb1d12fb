"""Linear: a weighted average (Model soups, arXiv 2203.05482, section 2).

    Phi = sum_j w_j phi_j / sum_j w_j

FuseChat compares with it at 0.2 for each of five models. Deviations: none; `normalize=false` leaves out the division,
as mergekit does on request.

Example: models 1 and 3 with weights 1 and 3: 2.5
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fusion.errors import ConfigError
from fusion.merging.base import Chunk, MergeMethod, Rule, Weights, column, per_model

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True)
class Linear(MergeMethod):
    """Example: Linear(weight=[0.7, 0.3])"""

    needs_base: ClassVar[bool] = False
    mergekit: ClassVar = {"linear": {}}

    weight: list[float] = field(default_factory=list, metadata=per_model())
    """One number a model; empty: equal."""
    normalize: bool = True
    """Divide by the sum of weights."""

    def __post_init__(self) -> None:
        if self.normalize and len(self.weight) > 1 and sum(self.weight) == 0:
            raise ConfigError(f"merge.weight sums to 0 ({self.weight}), so it cannot be normalised")

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        def merged(chunk: Chunk) -> Tensor:
            weight_K1 = column(self.weight, len(chunk.models_Kn), 1.0)
            total_n = (weight_K1 * chunk.models_Kn).sum(dim=0)
            return total_n / weight_K1.sum() if self.normalize else total_n

        return merged
