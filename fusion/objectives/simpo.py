"""SimPO (Meng et al., arXiv 2405.14734, eq. 6): no reference, the mean log-probability of a token is the reward.

    h    = beta * (log pi_theta(chosen|x) / |chosen| - log pi_theta(rejected|x) / |rejected|) - gamma
    loss = -(1 - eps) * log sigmoid(h) - eps * log sigmoid(-h)

eps is label smoothing, as in `dpo`; 0 is the paper's loss. With eps the target margin stays on the side of the chosen
response, as in TRL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion.errors import ConfigError
from fusion.objectives.base import (
    Loss,
    RoleLogProbs,
    SmoothedObjective,
    bradley_terry,
    reward_metrics,
)


@dataclass(kw_only=True)
class Simpo(SmoothedObjective):
    """Example: Simpo(beta=2.5, gamma=1.4)"""

    needs_reference: ClassVar[bool] = False

    beta_range: ClassVar[tuple[float, float]] = (1.0, 100.0)
    beta_note: ClassVar[str] = (
        "simpo averages log-probabilities over the tokens of a response, papers use 2-10; a beta of 0.01-0.1 "
        "belongs to objective=dpo, which sums log-ratios"
    )

    beta: float = 2.5
    """Scale of the reward, per nat of an average token; the paper: 2 to 2.5, its v0.2 models 10."""
    gamma: float = 1.4
    """Margin that a pair should have, in units of the reward; the paper tries 0.3 to 1.6 and has 1.4 for
    Llama-3-8B-Instruct with beta 2.5 (remembered, not looked up again)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma < 0:
            raise ConfigError(f"objective.gamma must be 0 or above, got {self.gamma}; the paper tries 0.3 to 1.6")

    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        chosen_B, rejected_B = self.beta * policy.logprob_sum_RB / policy.num_tokens_RB
        margin_B = chosen_B - rejected_B - self.gamma
        return Loss(bradley_terry(margin_B, self.label_smoothing), reward_metrics(chosen_B, rejected_B))
