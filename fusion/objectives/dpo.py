"""Direct preference optimisation (Rafailov et al., arXiv 2305.18290, eq. 7), on log-probabilities summed over tokens.

    Delta(y) = log pi_theta(y|x) - log pi_ref(y|x)
    h        = beta * (Delta(chosen) - Delta(rejected))
    loss     = -(1 - eps) * log sigmoid(h) - eps * log sigmoid(-h)

eps is the label smoothing of conservative DPO (the share of pairs believed to be the wrong way round); 0 is the
paper's loss. FuseChat-3.0 uses this form with beta = 0.01 for Qwen-2.5 and Gemma-2 targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion.objectives.base import Loss, RoleLogProbs, SmoothedObjective, preference_loss


@dataclass(kw_only=True)
class Dpo(SmoothedObjective):
    """Example: Dpo(beta=0.01)"""

    beta_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    beta_note: ClassVar[str] = (
        "dpo sums log-ratios over all tokens of a response, papers use 0.01-0.1; a beta of 5-10 belongs to "
        "objective=ln_dpo, which averages them"
    )

    beta: float = 0.01
    """Strength of the tie to the reference, per nat of a whole response; FuseChat-3.0: 0.01, the DPO paper: 0.1."""

    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        assert reference is not None
        ratio_RB = policy.logprob_sum_RB - reference.logprob_sum_RB
        return preference_loss(self.beta * ratio_RB, self.label_smoothing)
