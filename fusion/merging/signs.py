"""Sign election: which deltas of an element agree with the sign that the models together vote for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def agreeing(deltas_Kn: Tensor, votes_Kn: Tensor, *, zero_is_positive: bool = True) -> Tensor:
    """[K, n] fp32: 1 where a delta's sign is the elected one, else 0; a delta of zero never agrees.

    TIES (arXiv 2306.01708, eq. 2): gamma = sgn(sum_j votes_j), so the larger total movement wins.

    Args:
        votes_Kn: what is summed for the vote: the deltas, or what of them is left.
        zero_is_positive: a sum of zero elects the positive sign; otherwise it elects none.
    """
    import torch

    vote_n = votes_Kn.sum(dim=0)
    # Numbers all the way: masks of bool and products with them take two and a half times as long.
    elected_n = torch.copysign(torch.ones(()), vote_n + 0.0) if zero_is_positive else vote_n.sign()  # -0 + 0 is 0
    return (deltas_Kn * elected_n).clamp_(min=0).sign_()
