"""TIES: trim, elect signs, merge what agrees (arXiv 2306.01708, section 3, algorithm 1).

With delta_j = phi_j - theta:

    trim     of each delta_j the `density` largest by magnitude stay, the rest is 0        -> d_j
    elect    gamma = sgn(sum_j w_j d_j) of each element
    merge    m = sum over j with sgn(w_j d_j) = gamma of w_j d_j / sum over the same j of w_j;  Phi = theta + lambda m

The paper keeps the top 20%, has w_j = 1 and lambda = 1 where it cannot be tuned; FuseChat compares with it at density
0.6 and weight 0.2. Deviations: weights of single models, and a vote of zero elects the positive sign (mergekit; the
paper's sgn(0) would elect none). Elements of equal magnitude at the threshold are taken in the tensor's order.

Example: base 0, deltas (3, -1), density 1: the vote is positive, 3 alone agrees: 3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fusion.errors import ConfigError
from fusion.merging.base import Chunk, MergeMethod, Rule, Weights, column, each, per_model
from fusion.merging.signs import agreeing
from fusion.merging.top import Top, tops

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True)
class Ties(MergeMethod):
    """Example: Ties(density=[0.2])"""

    mergekit: ClassVar = {"ties": {"density": [1.0]}}

    weight: list[float] = field(default_factory=list, metadata=per_model())
    """One number a model; empty: 1 each."""
    density: list[float] = field(default_factory=lambda: [0.2], metadata=per_model())
    """Share of each model's elements that stays, in [0, 1]; one for all, or one a model."""
    normalize: bool = True
    """Divide by the sum of the weights that agree: the paper's disjoint mean. Otherwise they are added up."""
    lambda_: float = field(default=1.0, metadata={"yaml": "lambda"})

    def __post_init__(self) -> None:
        check_density(self.density)

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        [tensor] = tensors
        trims = self._trims(tensor)

        def merged(chunk: Chunk) -> Tensor:
            deltas_Kn = chunk.deltas()
            for delta_n, trim in zip(deltas_Kn, trims, strict=False):
                delta_n *= trim.take(delta_n.abs())
            return chunk.base_n + self.lambda_ * disjoint(deltas_Kn, self.weight, divide=self.normalize)

        return merged

    def _trims(self, tensor: Weights) -> list[Top]:
        """What stays of each model; none: all of every model."""
        densities = each(self.density, tensor.num_models, 1.0)
        if min(densities) >= 1:
            return []
        return tops(lambda: (chunk.deltas().abs_() for chunk in tensor.chunks()), [_kept(d) for d in densities])


def disjoint(deltas_Kn: Tensor, weight: Sequence[float], *, divide: bool) -> Tensor:
    """[n]: sum, or weighted mean, of the weighted deltas that have the elected sign."""
    weight_K1 = column(weight, len(deltas_Kn), 1.0)
    deltas_Kn *= weight_K1
    kept_Kn = agreeing(deltas_Kn, deltas_Kn)
    moved_n = (deltas_Kn * kept_Kn).sum(dim=0)
    if not divide:
        return moved_n
    total_n = (weight_K1 * kept_Kn).sum(dim=0)
    return moved_n / total_n.masked_fill_(total_n == 0, 1.0)


def check_density(density: Sequence[float]) -> None:
    """Raises:
    ConfigError: a share outside [0, 1].
    """
    if bad := [d for d in density if not 0 <= d <= 1]:
        raise ConfigError(f"merge.density must be in [0, 1], got {bad[0]}; 0.2 keeps a fifth of the elements")


def _kept(density: float) -> Callable[[int, int], int]:
    """How many elements stay: rounded down, but at least one where any share is to stay (mergekit's rule)."""
    return lambda total, _: max(1, int(density * total)) if density > 0 else 0
