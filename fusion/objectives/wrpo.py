"""Weighted-reward preference optimisation (Yang et al., arXiv 2412.03187): two chosen responses, a source's and
the target's own, against the target's own worst.

    r(y) = beta * (log pi_theta(y|x) - log pi_ref(y|x))            summed over tokens; their mean: `ln_wrpo`
    h    = alpha * r(source_chosen) + (1 - alpha) * r(target_chosen) - r(rejected)
    loss = -(1 - eps) * log sigmoid(h) - eps * log sigmoid(-h)

alpha rises linearly from 0 to alpha_max over all optimiser steps, so that training starts on the target's own answers
and the sources' signal is phased in. The authors' code names this schedule a decay, and divides by a number of steps
that it rounds down; here alpha is alpha_max * steps done / all steps, so the last step, which begins before all are
done, sees alpha_max * (N - 1) / N. eps 0 is the paper's loss. The code's fallback loss "sigmoid" is the variant
SEPARATE: plain DPO against each of the two chosen responses, averaged; it has no alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.objectives.base import (
    Loss,
    RoleLogProbs,
    SmoothedObjective,
    bradley_terry,
    reward_metrics,
)
from fusion.table import Table
from fusion.training_tables import PREFERENCE_TRIPLE

if TYPE_CHECKING:
    from torch import Tensor


class AlphaSchedule(Choice):
    LINEAR = "linear"
    """From 0 to alpha_max with progress: the paper's."""
    STATIC = "static"
    """alpha_max throughout: the paper's ablation."""


class Variant(Choice):
    WEIGHTED = "weighted"
    """The paper's loss."""
    SEPARATE = "separate"
    """The authors' fallback ("sigmoid"): DPO of either chosen response against the rejected one, averaged."""


@dataclass(kw_only=True)
class Wrpo(SmoothedObjective):
    """Example: Wrpo(beta=0.01, alpha_max=0.1)"""

    consumes: ClassVar[Table] = PREFERENCE_TRIPLE
    roles: ClassVar[tuple[str, ...]] = ("source_chosen", "target_chosen", "rejected")

    beta_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    beta_note: ClassVar[str] = (
        "wrpo sums log-ratios over all tokens of a response, the paper uses 0.01; a beta of 5-10 belongs to "
        "objective=ln_dpo, which averages them"
    )

    beta: float = 0.01
    """Strength of the tie to the reference, per nat of a whole response; the paper: 0.01."""
    alpha_max: float = 0.1
    """Weight of the source's response at the end of training, in [0, 1]; the paper: 0.1."""
    alpha_schedule: AlphaSchedule = AlphaSchedule.LINEAR
    variant: Variant = Variant.WEIGHTED

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.alpha_max <= 1:
            raise ConfigError(f"objective.alpha_max is a weight, in [0, 1]; got {self.alpha_max} (the paper has 0.1)")

    def alpha(self, progress: float) -> float:
        """Weight of the source's response when a share `progress` of the steps is done."""
        return self.alpha_max if self.alpha_schedule is AlphaSchedule.STATIC else self.alpha_max * progress

    def ratios(self, policy: RoleLogProbs, reference: RoleLogProbs) -> Tensor:
        """Log-ratio of each role and example."""
        return policy.logprob_sum_RB - reference.logprob_sum_RB

    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        assert reference is not None
        source_B, target_B, rejected_B = self.beta * self.ratios(policy, reference)
        if self.variant is Variant.SEPARATE:
            both = [bradley_terry(chosen_B - rejected_B, self.label_smoothing) for chosen_B in (source_B, target_B)]
            return Loss((both[0] + both[1]) / 2, _metrics(source_B, target_B, rejected_B, (source_B + target_B) / 2))
        alpha = self.alpha(progress)
        chosen_B = alpha * source_B + (1 - alpha) * target_B
        loss_B = bradley_terry(chosen_B - rejected_B, self.label_smoothing)
        metrics = _metrics(source_B, target_B, rejected_B, chosen_B)
        return Loss(loss_B, metrics | {"alpha": (chosen_B.new_tensor(alpha * len(chosen_B)), len(chosen_B))})


def _metrics(source_B: Tensor, target_B: Tensor, rejected_B: Tensor, chosen_B: Tensor) -> dict[str, tuple[Tensor, int]]:
    count = chosen_B.numel()
    return reward_metrics(chosen_B, rejected_B) | {
        "reward_source_chosen": (source_B.detach().sum(), count),
        "reward_target_chosen": (target_B.detach().sum(), count),
    }
