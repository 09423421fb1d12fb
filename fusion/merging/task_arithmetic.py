"""Task arithmetic: scaled task vectors added to the base (arXiv 2212.04089, section 2).

    Phi = theta + lambda * sum_j w_j delta_j,  delta_j = phi_j - theta

The paper scales the sum by one lambda, 0.3 to 0.5 where none can be tuned; FuseChat compares with it at a weight of
0.3. Deviations: weights of single models beside lambda, and `normalize`, which divides by the sum of weights, as
mergekit has.

Example: base 1, models 2 and 3, weights 0.5: 1 + 0.5 + 1 = 2.5
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fusion.merging.base import Chunk, MergeMethod, Rule, Weights, column, per_model

if TYPE_CHECKING:
    from torch import Tensor

NEAR_ZERO = 1e-8
"""A sum of weights that is not divided by."""


@dataclass(kw_only=True)
class TaskArithmetic(MergeMethod):
    """Example: TaskArithmetic(weight=[0.3])"""

    mergekit: ClassVar = {"task_arithmetic": {}}

    weight: list[float] = field(default_factory=list, metadata=per_model())
    """One number a model; empty: 1 each."""
    normalize: bool = False
    lambda_: float = field(default=1.0, metadata={"yaml": "lambda"})

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        def merged(chunk: Chunk) -> Tensor:
            weight_K1 = column(self.weight, len(chunk.models_Kn), 1.0)
            moved_n = (weight_K1 * chunk.deltas()).sum(dim=0)
            return chunk.base_n + self.lambda_ * averaged(moved_n, weight_K1, divide=self.normalize)

        return merged


def averaged(moved_n: Tensor, weight_K1: Tensor, *, divide: bool) -> Tensor:
    """A weighted sum of deltas, or their weighted average."""
    total = float(weight_K1.sum())
    return moved_n / total if divide and abs(total) >= NEAR_ZERO else moved_n
