"""Identity preference optimisation (Azar et al., arXiv 2310.12036, eq. 17): the margin is drawn to a value, not to
infinity, so that pairs on which all agree do not push the policy away from the reference for ever.

    Delta(y) = log pi_theta(y|x) - log pi_ref(y|x)
    h        = Delta(chosen) - Delta(rejected)
    loss     = (h - 1 / (2 beta))^2

The paper sums Delta over tokens. TRL, after talking to the authors, takes the mean of each response, or long responses
would have most of the loss; the comparisons of WRPO and SimPO were made with such code. `per_token` says which; true
(TRL's) is the default, and a beta does not move between the two. Label smoothing has no meaning here: a swapped pair
changes the value that is drawn to, and 1 / (2 beta) is a setting already.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion.objectives.base import Loss, RoleLogProbs, TiedObjective, reward_metrics


@dataclass(kw_only=True)
class Ipo(TiedObjective):
    """Example: Ipo(beta=0.1) draws the mean log-ratio of a chosen token to 5 nats above that of a rejected one."""

    beta_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    beta_note: ClassVar[str] = (
        "ipo draws the margin to 1 / (2 beta) nats, papers use 0.01-1; a beta of 5-10 belongs to objective=ln_dpo"
    )

    beta: float = 0.1
    """Strength of the tie to the reference (tau in the paper); SimPO's comparison (arXiv 2405.14734): 0.01 to 1."""
    per_token: bool = True
    """Mean log-ratio of a token (TRL); false: the sum over a response (the paper)."""

    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        assert reference is not None
        ratio_RB = policy.logprob_sum_RB - reference.logprob_sum_RB
        if self.per_token:
            ratio_RB = ratio_RB / policy.num_tokens_RB
        chosen_B, rejected_B = ratio_RB
        per_example_B = (chosen_B - rejected_B - 1 / (2 * self.beta)) ** 2
        return Loss(per_example_B, reward_metrics(self.beta * chosen_B, self.beta * rejected_B))
