"""Length-normalised WRPO: `wrpo` on the mean log-ratio of a token, as `ln_dpo` is to `dpo`.

    r(y) = beta * (log pi_theta(y|x) - log pi_ref(y|x)) / |y|

The authors' code as released sums, and a line of it is to be edited for this. At equal lengths L it is WRPO with
beta / L, so a beta never moves between the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion.objectives.base import RoleLogProbs
from fusion.objectives.ln_dpo import LnDpo
from fusion.objectives.wrpo import Wrpo

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True)
class LnWrpo(Wrpo):
    """Example: LnWrpo(beta=10, alpha_max=0.1)"""

    beta_range: ClassVar[tuple[float, float]] = LnDpo.beta_range
    beta_note: ClassVar[str] = (
        "ln_wrpo averages log-ratios over the tokens of a response; a beta of 0.01-0.1 belongs to objective=wrpo, "
        "which sums them"
    )

    beta: float = 10.0
    """Strength of the tie to the reference, per nat of an average token; of ln_dpo in FuseChat-3.0, nobody's here."""

    def ratios(self, policy: RoleLogProbs, reference: RoleLogProbs) -> Tensor:
        return super().ratios(policy, reference) / policy.num_tokens_RB
