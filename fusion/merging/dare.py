"""DARE: drop and rescale (arXiv 2311.03099, section 3.1), then task arithmetic, or TIES' election of signs.

With delta_j = phi_j - theta, and Bernoulli masks that are 1 with probability `density` (1 - the paper's drop rate):

    delta'_j = mask_j * delta_j / density
    Phi      = theta + lambda * sum_j w_j delta'_j      (or, with `elect`, the mean of those that have the elected sign)

The paper drops up to 90 or 99%; FuseChat compares with it at density 0.6 and weight 0.2. Deviations: `rescale=l1` makes
the sum of magnitudes what it was instead of dividing by density, as mergekit 0.1.5 does. Masks are drawn from the seed,
the tensor's name, the model and the chunk, so the same config gives the same bytes in any order on any machine;
mergekit's come from one stream and are not reproduced.

Example: delta (2, 2), density 0.5, mask (1, 0): (4, 0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fusion.choice import Choice
from fusion.merging.base import Chunk, MergeMethod, Rule, Weights, column, each, per_model
from fusion.merging.task_arithmetic import averaged
from fusion.merging.ties import check_density, disjoint
from fusion.schema import hash_text

if TYPE_CHECKING:
    from torch import Tensor

NO_LENGTH = 1e-7
"""A sum of magnitudes that is not divided by."""


class Rescale(Choice):
    """What makes up for the dropped elements."""

    NONE = "none"
    DENSITY = "density"
    """Divide by the density: the expected delta stays (the paper)."""
    L1 = "l1"
    """The sum of magnitudes of a tensor's delta stays (mergekit)."""


@dataclass(kw_only=True)
class Dare(MergeMethod):
    """Example: Dare(density=[0.6], weight=[0.2])"""

    mergekit: ClassVar = {
        "dare_linear": {"rescale": Rescale.L1, "density": [1.0]},
        "dare_ties": {"rescale": Rescale.L1, "density": [1.0], "elect": True},
    }

    weight: list[float] = field(default_factory=list, metadata=per_model())
    """One number a model; empty: 1 each."""
    density: list[float] = field(default_factory=lambda: [0.1], metadata=per_model())
    """Share of each model's elements that is kept, in [0, 1]."""
    rescale: Rescale = field(default=Rescale.DENSITY, metadata={"values": {True: Rescale.L1, False: Rescale.NONE}})
    elect: bool = False
    """Keep only what has the sign that TIES would elect."""
    normalize: bool = False
    """Divide by the sum of weights (with `elect`: of those that agree)."""
    lambda_: float = field(default=1.0, metadata={"yaml": "lambda"})
    seed: int = 42

    def __post_init__(self) -> None:
        check_density(self.density)

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        [tensor] = tensors
        scale_K1 = self._scales(tensor)

        def merged(chunk: Chunk) -> Tensor:
            deltas_Kn = self._dropped(tensor, chunk) * scale_K1
            if self.elect:
                return chunk.base_n + self.lambda_ * disjoint(deltas_Kn, self.weight, divide=self.normalize)
            weight_K1 = column(self.weight, tensor.num_models, 1.0)
            moved_n = (weight_K1 * deltas_Kn).sum(dim=0)
            return chunk.base_n + self.lambda_ * averaged(moved_n, weight_K1, divide=self.normalize)

        return merged

    def _scales(self, tensor: Weights) -> Tensor:
        """[K, 1] fp32: what the deltas that were kept are multiplied by."""
        import torch

        density_K1 = column(self.density, tensor.num_models, 1.0)
        if self.rescale is Rescale.NONE:
            return torch.ones_like(density_K1)
        if self.rescale is Rescale.DENSITY:
            return (1 / density_K1).where(density_K1 > 0, 1.0)
        before_K, after_K = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        for chunk in tensor.chunks():
            before_K = before_K + chunk.deltas().double().abs_().sum(dim=1)
            after_K = after_K + self._dropped(tensor, chunk).double().abs_().sum(dim=1)
        measured = (before_K >= NO_LENGTH) & (after_K >= NO_LENGTH)
        return (before_K / after_K).where(measured, 1.0).float().unsqueeze(1)

    def _dropped(self, tensor: Weights, chunk: Chunk) -> Tensor:
        """[K, n]: deltas with their masks."""
        import torch

        deltas_Kn = chunk.deltas()
        for model, density in enumerate(each(self.density, tensor.num_models, 1.0)):
            if density < 1:
                number = hash_text(str(self.seed), tensor.name, str(model), str(chunk.start), length=15)
                draws = torch.Generator().manual_seed(int(number, 16))
                deltas_Kn[model] *= torch.rand(deltas_Kn.shape[1], generator=draws) < density
        return deltas_Kn
