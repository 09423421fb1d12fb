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
gives nothing), `weights_from`; on each response by itself, `weights_of`; "the initial pivot" is the model that
preference training starts from (after SFT the SFT checkpoint). A source that could not read a response takes no part in
it. A source's m_i counts its end of turn where its template has one (see `fusion.train.source_logprobs`).

With form=ipo (the paper's InfiFPO-IPO) the margin is drawn to a value, and h above is without beta:

    loss    = (h - 1 / (2 beta))^2

The paper's variant with WRPO's loss is left out: it needs sources' numbers of triples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.objectives.base import Loss, RoleLogProbs, SmoothedObjective, preference_loss, reward_metrics

if TYPE_CHECKING:
    from torch import Tensor

CONFIDENCE_EPS = 1e-6
"""Keeps the weight of a source finite that is certain of a response; the paper does not name its value."""


class Fusion(Choice):
    MAX_MARGIN = "max_margin"
    CONFIDENCE = "confidence"
    AVERAGE = "average"


class WeightsFrom(Choice):
    """Which numbers decide on the weights of the models."""

    CLIPPED = "clipped"
    RAW = "raw"
    """As the sources gave them; the weights are then of the clipped ones."""


class WeightsOf(Choice):
    """What the weights are decided on for."""

    RESPONSE = "response"
    PAIR = "pair"
    """Both responses together: the sum of both distances, the mean of both log-probabilities."""


class Form(Choice):
    SIGMOID = "sigmoid"
    IPO = "ipo"


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
    weights_from: WeightsFrom = field(default=WeightsFrom.CLIPPED, metadata={"absent_when": WeightsFrom.CLIPPED})
    weights_of: WeightsOf = field(default=WeightsOf.RESPONSE, metadata={"absent_when": WeightsOf.RESPONSE})
    form: Form = field(default=Form.SIGMOID, metadata={"absent_when": Form.SIGMOID})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form is Form.IPO and self.label_smoothing:
            raise ConfigError(
                "objective.label_smoothing has no meaning with form=ipo; 1 / (2 beta) is a setting already"
            )

    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        assert reference is not None
        assert reference.source_logprob_mean_SRB is not None
        pivot_RB = reference.logprob_sum_RB / reference.num_tokens_RB
        fused_RB = self.fused_reference(pivot_RB, reference.source_logprob_mean_SRB)
        ratio_RB = policy.logprob_sum_RB / policy.num_tokens_RB - fused_RB
        if self.form is Form.IPO:
            chosen_B, rejected_B = ratio_RB
            metrics = reward_metrics(self.beta * chosen_B, self.beta * rejected_B)
            loss = Loss((chosen_B - rejected_B - 1 / (2 * self.beta)) ** 2, metrics)
        else:
            loss = preference_loss(self.beta * ratio_RB, self.label_smoothing)
        moved_B = (fused_RB != pivot_RB).any(0)
        return Loss(loss.per_example_B, {**loss.metrics, "reference_moved": (moved_B.sum(), moved_B.numel())})

    def fused_reference(self, pivot_RB: Tensor, sources_SRB: Tensor) -> Tensor:
        """m_fu [R, B] of the module's docstring; roles chosen, rejected.

        Args:
            pivot_RB: mean log-probability of a token under the starting model.
            sources_SRB: the same under each source; NaN: it takes no part.
        """
        import torch

        raw_SRB = torch.cat([pivot_RB[None], sources_SRB])
        models_SRB = clipped(raw_SRB) if self.clip else raw_SRB
        deciding_SRB = models_SRB if self.weights_from is WeightsFrom.CLIPPED else raw_SRB
        return (fusion_weights(deciding_SRB, self.fusion, self.weights_of) * models_SRB.nan_to_num()).sum(0)


def clipped(models_SRB: Tensor) -> Tensor:
    """Each model by the first: not below it for the chosen, not above it for the rejected response; NaN stays NaN."""
    import torch

    chosen_SB = torch.maximum(models_SRB[:, 0], models_SRB[0, 0])
    rejected_SB = torch.minimum(models_SRB[:, 1], models_SRB[0, 1])
    return torch.stack([chosen_SB, rejected_SB], 1)


def fusion_weights(models_SRB: Tensor, fusion: Fusion, of: WeightsOf = WeightsOf.RESPONSE) -> Tensor:
    """gamma [S, R, B], which sum to 1 over models; the first model is the starting one, and NaN gets weight 0."""
    import torch
    from torch.nn.functional import one_hot

    distance_SRB = (models_SRB - models_SRB[0]).abs()
    if of is WeightsOf.PAIR:
        distance_SRB = distance_SRB.sum(1, keepdim=True).expand_as(models_SRB)
        models_SRB = models_SRB.mean(1, keepdim=True).expand_as(models_SRB)
    if fusion is Fusion.MAX_MARGIN:
        # argmax returns the first of equals: the starting model where nothing differs from it.
        farthest_RB = distance_SRB.nan_to_num(nan=-1.0).argmax(0)
        return one_hot(farthest_RB, len(models_SRB)).movedim(-1, 0).to(models_SRB.dtype)
    raw_SRB = torch.ones_like(models_SRB) if fusion is Fusion.AVERAGE else 1 / (CONFIDENCE_EPS - models_SRB)
    weights_SRB = torch.where(models_SRB.isnan(), torch.zeros_like(raw_SRB), raw_SRB)
    return weights_SRB / weights_SRB.sum(0)
