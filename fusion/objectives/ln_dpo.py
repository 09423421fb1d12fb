"""Length-normalised DPO (Tülu 3, arXiv 2411.15124, eq. 6): DPO on the mean log-ratio of a token.

    Delta(y) = log pi_theta(y|x) - log pi_ref(y|x)
    h        = beta * (Delta(chosen) / |chosen| - Delta(rejected) / |rejected|)
    loss     = -(1 - eps) * log sigmoid(h) - eps * log sigmoid(-h)

|y| counts the tokens that are in the sum, after truncation. FuseChat-3.0 uses it with beta = 10 for Llama targets. At
equal lengths L it is DPO with beta / L, so a beta never moves between the two: 10 here is 0.01-0.03 there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion.objectives.base import Loss, RoleLogProbs, SmoothedObjective, preference_loss


@dataclass(kw_only=True)
class LnDpo(SmoothedObjective):
    """Example: LnDpo(beta=10.0)"""

    beta_range: ClassVar[tuple[float, float]] = (1.0, 100.0)
    beta_note: ClassVar[str] = (
        "ln_dpo averages log-ratios over the tokens of a response, papers use 5-10; a beta of 0.01-0.1 belongs "
        "to objective=dpo, which sums them"
    )

    beta: float = 10.0
    """Strength of the tie to the reference, per nat of an average token; FuseChat-3.0: 10, Tülu 3: 5."""

    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        assert reference is not None
        ratio_RB = (policy.logprob_sum_RB - reference.logprob_sum_RB) / policy.num_tokens_RB
        return preference_loss(self.beta * ratio_RB, self.label_smoothing)
