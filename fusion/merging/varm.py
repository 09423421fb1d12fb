"""VaRM: a model's weight is its share of the squared change (FuseChat version 1, arXiv 2402.16107v1, section 3.3).

With delta_j = phi_j - theta and m a part of the model:

    W_{j,m} = mean(delta_{j,m}^2) / sum_i mean(delta_{i,m}^2)        Phi_m = sum_j W_{j,m} phi_{j,m}

`granularity` says what a part is; the paper compares all five and takes PARAMETER, a tensor. Deviations: where nothing
changed the models weigh equally (they are equal there); sums are fp64. The authors' program analysed the models against
each other rather than against the base and used one analysis for all, which gives a plain average; that is `linear`.

With a granularity above PARAMETER the tensors of a part are merged one after another, after a pass over all of them.

Example: base 0, models (2) and (1): W = 4/5, 1/5; 2 * 0.8 + 1 * 0.2 = 1.8
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.choice import Choice
from fusion.merging.base import Chunk, MergeMethod, Rule, Weights

if TYPE_CHECKING:
    from torch import Tensor

LAYER = re.compile(r"^(.*?\.\d+)\.(\w+)")
"""`model.layers.3` and `mlp` of `model.layers.3.mlp.up_proj.weight`."""


class Granularity(Choice):
    """The part of a model that has one weight."""

    MODEL = "model"
    LAYER = "layer"
    """All tensors of one decoder layer; tensors outside of layers are parts of their own."""
    MODULE = "module"
    """Within a layer, what stands next in the name: self_attn, mlp, or a norm."""
    PARAMETER = "parameter"
    ELEMENT = "element"


@dataclass(kw_only=True)
class Varm(MergeMethod):
    """Example: Varm(granularity=Granularity.LAYER)"""

    granularity: Granularity = Granularity.PARAMETER

    def scope(self, name: str) -> str:
        found = LAYER.match(name)
        if self.granularity is Granularity.MODEL:
            return ""
        if found and self.granularity is Granularity.LAYER:
            return found[1]
        if found and self.granularity is Granularity.MODULE:
            return found[0]
        return name

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        if self.granularity is Granularity.ELEMENT:
            return lambda chunk: _weighed(chunk, _shares(chunk.deltas().square_()))
        shares_K1 = _shares(_squares(tensors)).float()
        return lambda chunk: _weighed(chunk, shares_K1)


def _squares(tensors: Sequence[Weights]) -> Tensor:
    """[K, 1] fp64: sum of delta^2. Every model has as many elements, so their shares are those of the means."""
    import torch

    total_K = torch.zeros(1, dtype=torch.float64)
    for tensor in tensors:
        for chunk in tensor.chunks():
            total_K = total_K + chunk.deltas().double().square_().sum(dim=1)
    return total_K.unsqueeze(1)


def _shares(squares: Tensor) -> Tensor:
    """Each model's share, over the first axis; equal shares where nothing changed."""
    total = squares.sum(dim=0)
    return (squares / total).where(total > 0, 1 / len(squares))


def _weighed(chunk: Chunk, shares: Tensor) -> Tensor:
    return (shares * chunk.models_Kn).sum(dim=0)
