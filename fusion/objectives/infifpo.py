"""InfiFPO (Gu et al., arXiv 2505.13878): DPO whose reference is fused from the sources.

    m_i(y)  = log M_i(y|x) / |y|_i     under source i, in its own tokens; m_0 is the model that training starts from
    clip    : max(m_i, m_0) for the chosen, min(m_i, m_0) for the rejected response
    m_fu(y) = sum_i gamma_i(y) m_i(y),   sum_i gamma_i = 1, over the sources and the starting model
    h       = beta * [ (log pi(chosen) / |chosen| - m_fu(chosen)) - (log pi(rejected) / |rejected| - m_fu(rejected)) ]
    loss    = -(1 - eps) * log sigmoid(h) - eps * log sigmoid(-h)

One number a source and response is all that is needed, and no alignment of tokens. Clipping lets a source move the
reference in the intended direction only. Weights: AVERAGE 1/N; CONFIDENCE proportional to 1 / (-m_i + eps); MAX_MARGIN
all on the model farthest from the starting one (the paper's best, and the default). Our readings, where the paper
leaves it open: weights are taken from clipped values (a source whose whole difference is clipped away else wins and
gives nothing); on each response by itself; "the initial pivot" is the model that preference training starts from (after
SFT the SFT checkpoint). A source that could not read a response takes no part in it. A source's m_i counts its end of
turn where its template has one (see `fusion.train.source_logprobs`). The paper's variants with WRPO's and IPO's losses
are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion.choice import Choice
from fusion.objectives.base import Loss, RoleLogProbs, SmoothedObjective, preference_loss

if TYPE_CHECKING:
    from torch import Tensor

CONFIDENCE_EPS = 1e-6
"""Keeps the weight of a source finite that is certain of a response; the paper does not name its value."""


class Fusion(Choice):
    MAX_MARGIN = "max_margin"
    CONFIDENCE = "confidence"
    AVERAGE = "average"


@dataclass(kw_only=True)
class Infifpo(SmoothedObjective):
    """Example: Infifpo(beta=2.5, fusion=Fusion.MAX_MARGIN)"""

    needs_sources: ClassVar[bool] = True

    beta_range: ClassVar[tuple[float, float]] = (1.0, 100.0)
    beta_note: ClassVar[str] = (
        "infifpo averages log-ratios over the tokens of a response, the paper uses 2.5; a beta of 0.01-0.1 "
        "belongs to objective=dpo, which sums them"
    )

    beta: float = 2.5
    """Strength of the tie to the fused reference, per nat of an average token; the paper: 2.5."""
    fusion: Fusion = Fusion.MAX_MARGIN
    """How the sources' numbers become one; the paper's best is max_margin."""
    clip: bool = True
    """Clip each source by the starting model; false: the paper's ablation."""

    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        assert reference is not None
        assert reference.source_logprob_mean_SRB is not None
        pivot_RB = reference.logprob_sum_RB / reference.num_tokens_RB
        fused_RB = fused_reference(pivot_RB, reference.source_logprob_mean_SRB, self.fusion, self.clip)
        loss = preference_loss(
            self.beta * (policy.logprob_sum_RB / policy.num_tokens_RB - fused_RB), self.label_smoothing
        )
        moved_B = (fused_RB != pivot_RB).any(0)
        return Loss(loss.per_example_B, {**loss.metrics, "reference_moved": (moved_B.sum(), moved_B.numel())})


def fused_reference(pivot_RB: Tensor, sources_SRB: Tensor, fusion: Fusion, clip: bool) -> Tensor:
    """m_fu [R, B] of the module's docstring; roles chosen, rejected.

    Args:
        pivot_RB: mean log-probability of a token under the starting model.
        sources_SRB: the same under each source; NaN: it takes no part.
    """
    import torch

    if clip:  # NaN stays NaN
        sources_SRB = torch.stack(
            [torch.maximum(sources_SRB[:, 0], pivot_RB[0]), torch.minimum(sources_SRB[:, 1], pivot_RB[1])], 1
        )
    models_SRB = torch.cat([pivot_RB[None], sources_SRB])
    return (fusion_weights(models_SRB, fusion) * models_SRB.nan_to_num()).sum(0)


def fusion_weights(models_SRB: Tensor, fusion: Fusion) -> Tensor:
    """gamma [S, R, B], which sum to 1 over models; the first model is the starting one, and NaN gets weight 0."""
    import torch
    from torch.nn.functional import one_hot

    is_there_SRB = ~models_SRB.isnan()
    if fusion is Fusion.MAX_MARGIN:
        distance_SRB = (models_SRB - models_SRB[0]).abs().nan_to_num(nan=-1.0)
        # argmax returns the first of equals: the starting model where nothing differs from it.
        return one_hot(distance_SRB.argmax(0), len(models_SRB)).movedim(-1, 0).to(models_SRB.dtype)
    raw_SRB = torch.ones_like(models_SRB) if fusion is Fusion.AVERAGE else 1 / (CONFIDENCE_EPS - models_SRB)
    weights_SRB = torch.where(is_there_SRB, raw_SRB, torch.zeros_like(raw_SRB))
    return weights_SRB / weights_SRB.sum(0)
