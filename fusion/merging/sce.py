"""SCE: select, calculate, erase (FuseChat, arXiv 2408.07990, section 3.3), the merge of FuseChat-7B-v2 and FuseO1.

Of each weight matrix, with base theta, models phi_j, delta_j = phi_j - theta:

    select     the top tau of elements by the variance of delta_j over j           -> hat_delta_j, else 0
    calculate  eta_j = sum(hat_delta_j^2) / sum_i sum(hat_delta_i^2)
    erase      s = sign(sum_j hat_delta_j) of each element; deltas of another sign  -> delta'_j = 0
    merge      Phi = theta + sum_j eta_j * delta'_j

Three programs disagree on it, and each is a variant here:

                       PAPER                    FUSEAI (the authors' fork)      MERGEKIT (0.1.5)
    the mask acts on   deltas everywhere        eta alone; full deltas vote     deltas everywhere
                                                and are merged
    after erasing      no more                  divided by the sum of the       the same, the sum clamped at 1e-6
                                                surviving eta (0 counts as 1)
    a vote of zero     elects no sign           counts as positive              counts as positive
    no delta at all    eta = 1/K                eta = 1/K                       eta = 1/K below a sum of mean squares
                                                                                of 1e-6: small deltas weigh equally

k = int(tau * number of elements whose variance is not 0); with k = 0 PAPER and MERGEKIT give the base, FUSEAI the mean.

Deviations: sums are fp64 and all else fp32 in every variant (the programs compute in the checkpoints' dtype, where
delta^2 of neighbouring bf16 numbers underflows). The merge is written (1 - sum c_j) theta + sum c_j phi_j, so that one
model comes back exactly. Elements of equal variance at the threshold are taken in the tensor's order; their programs
leave open which.

Hyper-parameters: tau 10% for FuseChat-7B-v2 (section 4.1), 100% for FuseO1-Preview (its mergekit configs).

Example: base 0, models +3 and -1, tau 1: eta 0.9 and 0.1; the vote is positive. PAPER 2.7, FUSEAI and MERGEKIT 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.merging.base import Chunk, MergeMethod, Rule, Weights
from fusion.merging.signs import agreeing
from fusion.merging.top import Top, tops

if TYPE_CHECKING:
    from torch import Tensor

SMALL = 1e-6
"""mergekit's: a sum of mean squares below it counts as none, and what it divides by is at least this."""


class SceVariant(Choice):
    """Whose SCE."""

    PAPER = "paper"
    """The equations of arXiv 2408.07990."""
    FUSEAI = "fuseai"
    """The authors' fork of mergekit, which made the released weights."""
    MERGEKIT = "mergekit"
    """arcee-ai's mergekit."""


@dataclass(kw_only=True)
class Sce(MergeMethod):
    """Example: Sce(tau=0.1, variant=SceVariant.FUSEAI)"""

    mergekit: ClassVar = {"sce": {"variant": SceVariant.MERGEKIT, "tau": 1.0}}

    tau: float = field(default=0.1, metadata={"yaml": "select_topk"})
    """Share of elements that are selected, in [0, 1]; FuseChat 0.1, FuseO1 1.0."""
    variant: SceVariant = SceVariant.PAPER

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1:
            raise ConfigError(f"merge.tau must be in [0, 1], got {self.tau}; 0.1 selects a tenth of the elements")

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        [tensor] = tensors
        selected = self._selected(tensor)
        eta_K1 = self._eta(tensor, selected)
        masks = copy(selected) if self.variant is not SceVariant.FUSEAI else None

        def merged(chunk: Chunk) -> Tensor:
            deltas_Kn = _masked(chunk, masks)
            kept_Kn = agreeing(deltas_Kn, deltas_Kn, zero_is_positive=self.variant is not SceVariant.PAPER)
            shares_Kn = kept_Kn.mul_(eta_K1)
            if self.variant is SceVariant.FUSEAI:
                total_n = shares_Kn.sum(dim=0)
                shares_Kn /= total_n.masked_fill_(total_n == 0, 1.0)
            elif self.variant is SceVariant.MERGEKIT:
                shares_Kn /= shares_Kn.sum(dim=0).clamp_(min=SMALL)
            left_n = shares_Kn.sum(dim=0).neg_().add_(1)
            return left_n.mul_(chunk.base_n).add_(shares_Kn.mul_(chunk.models_Kn).sum(dim=0))

        return merged

    def _selected(self, tensor: Weights) -> Top | None:
        """The elements that vary most; None: all."""
        if self.tau == 1:
            return None
        [selected] = tops(
            lambda: (_variance(chunk).unsqueeze(0) for chunk in tensor.chunks()),
            [lambda _, nonzero: int(self.tau * nonzero)],
        )
        return selected

    def _eta(self, tensor: Weights, selected: Top | None) -> Tensor:
        """[K, 1] fp32."""
        import torch

        masks, total_K = copy(selected), torch.zeros(1, dtype=torch.float64)
        for chunk in tensor.chunks():
            total_K = total_K + _masked(chunk, masks).square_().sum(dim=1, dtype=torch.float64)
        least = SMALL * tensor.num_elements if self.variant is SceVariant.MERGEKIT else 0.0
        total = float(total_K.sum())
        share_K = torch.full_like(total_K, 1 / len(total_K)) if total == 0 or total < least else total_K / total
        return share_K.float().unsqueeze(1)


def _masked(chunk: Chunk, masks: Top | None) -> Tensor:
    """[K, n]: deltas, zero where they are not selected."""
    deltas_Kn = chunk.deltas()
    return deltas_Kn if masks is None else deltas_Kn.mul_(masks.take(_variance(chunk)))


def _variance(chunk: Chunk) -> Tensor:
    """[n]: population variance over models, as sum_{i<j} (phi_i - phi_j)^2 / K^2: exactly 0 where all are equal, and a
    hundred times as fast here as torch's."""
    models_Kn = chunk.models_Kn
    num_models, variance_n = len(models_Kn), models_Kn.new_zeros(models_Kn.shape[1])
    for i in range(1, num_models):
        for j in range(i):
            gap_n = models_Kn[i] - models_Kn[j]
            variance_n.addcmul_(gap_n, gap_n)
    return variance_n.div_(num_models * num_models)
