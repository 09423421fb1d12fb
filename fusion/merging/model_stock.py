"""Model stock: a few fine-tuned models and their base stand for the centre of many (arXiv 2403.19522, eq. 6 and 7).

With delta_j = phi_j - theta, K models and cos the mean cosine between two deltas:

    t = K cos / (1 + (K - 1) cos)        Phi = t * mean_j phi_j + (1 - t) * theta

of each tensor (the paper's layer-wise), or of each of its rows (`filter_wise`). Deviations: cos is the mean over all
pairs where the paper takes one angle for granted, and where the denominator vanishes the base is kept, both as in
mergekit. The paper has no hyper-parameter.

Example: deltas (1, 0) and (0, 1): cos 0, t 0: the base. Equal deltas: cos 1, t 1: the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion.merging.base import Chunk, MergeMethod, Rule, Weights

if TYPE_CHECKING:
    from torch import Tensor

NO_LENGTH = 1e-6
"""A product of two lengths is at least this when divided by; a denominator of t that is smaller keeps the base."""


@dataclass(kw_only=True)
class ModelStock(MergeMethod):
    """Example: ModelStock()"""

    min_models: ClassVar[int] = 2
    mergekit: ClassVar = {"model_stock": {}}

    filter_wise: bool = False
    """One angle a row instead of one a tensor."""

    @property
    def whole_rows(self) -> bool:
        return self.filter_wise

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        [tensor] = tensors
        if self.filter_wise:
            return lambda chunk: _interpolated(chunk, _ratio(_products(chunk, chunk.columns)))
        total = sum(_products(chunk, chunk.deltas().shape[1]) for chunk in tensor.chunks())
        assert not isinstance(total, int)
        ratio_1 = _ratio(total)
        return lambda chunk: _interpolated(chunk, ratio_1)


def _products(chunk: Chunk, columns: int) -> Tensor:
    """[rows, K, K] fp64: inner products of deltas."""
    deltas_Kn = chunk.deltas().double()
    deltas_rKc = deltas_Kn.reshape(len(deltas_Kn), -1, columns).transpose(0, 1)
    return deltas_rKc @ deltas_rKc.transpose(1, 2)


def _ratio(products_rKK: Tensor) -> Tensor:
    """[rows] fp32: t."""
    import torch

    num_models = products_rKK.shape[1]
    length_rK = products_rKK.diagonal(dim1=1, dim2=2).sqrt()
    cosine_rKK = products_rKK / (length_rK[:, :, None] * length_rK[:, None, :]).clamp(min=NO_LENGTH)
    upper = torch.triu_indices(num_models, num_models, offset=1)
    cosine_r = cosine_rKK[:, upper[0], upper[1]].clamp(-1, 1).mean(dim=1)
    divisor_r = 1 + (num_models - 1) * cosine_r
    kept = divisor_r.abs() < NO_LENGTH
    return (num_models * cosine_r / divisor_r.masked_fill(kept, 1.0)).masked_fill(kept, 0.0).float()


def _interpolated(chunk: Chunk, ratio_r: Tensor) -> Tensor:
    """[n]: each row moved by its t from the base towards the mean."""
    ratio_n = ratio_r if len(ratio_r) == 1 else ratio_r.repeat_interleave(len(chunk.base_n) // len(ratio_r))
    return ratio_n * chunk.models_Kn.mean(dim=0) + (1 - ratio_n) * chunk.base_n
