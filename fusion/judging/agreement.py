"""How far a judge is to be trusted: its pairwise verdicts against those of people.

A verdict is 1 (the first answer of the pair is better), 0 (the second is) or 0.5 (neither); with probabilities it may
lie between. The judge gives two, one for each order in which the answers were shown, both about the same first answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion.errors import ConfigError
from fusion.evaluation.intervals import Interval, share


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """One pair of answers. Example: LabelledPair(1.0, 1.0, 0.5)"""

    human: float
    """1, 0 or 0.5."""
    shown_first: float
    """The judge's, with the first answer shown first; in [0, 1]."""
    shown_second: float
    """The judge's, with the first answer shown second."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Shares in [0, 1] with 95% intervals; None where there is no pair to count. n: pairs counted."""

    accuracy: Interval | None
    """Of pairs that people decided: 1 where the judge agrees, 0.5 where it calls a tie, 0 where it disagrees."""
    accuracy_decided: Interval | None
    """Of pairs that both decided: the judge agrees."""
    agreement: Interval
    """Of all pairs: the same of win, loss and tie."""
    consistency: Interval
    """Of all pairs: both orders give the same of win, loss and tie."""
    first_place: Interval | None
    """Of pairs whose orders contradict each other: the judge prefers what is shown first. 0.5: no such habit."""
    num_pairs: int
    num_human_ties: int
    num_judge_ties: int


def agreement(pairs: Sequence[LabelledPair]) -> Agreement:
    """The judge's quality on labelled pairs. Its verdict on a pair is that of both orders, a tie where they differ.

    Raises:
        ConfigError: there are no pairs, or a verdict lies outside [0, 1].
    """
    if not pairs:
        raise ConfigError("there are no labelled pairs, so nothing can be said of the judge")
    values_N3 = np.array([(pair.human, pair.shown_first, pair.shown_second) for pair in pairs])
    if not ((values_N3 >= 0) & (values_N3 <= 1)).all():
        raise ConfigError("a verdict lies outside [0, 1]; 1 is a win of the first answer, 0 a loss, 0.5 a tie")
    human_N, first_N, second_N = np.sign(values_N3 - 0.5).T
    judge_N = np.where(first_N == second_N, first_N, 0.0)
    decided_N = human_N != 0
    right_N = 0.5 + 0.5 * human_N * judge_N
    # Preferring the first place twice is +1 for the answer when it is shown first, and -1 when it is shown second.
    torn_N = first_N * second_N < 0
    return Agreement(
        accuracy=_share(right_N[decided_N]),
        accuracy_decided=_share(right_N[decided_N & (judge_N != 0)]),
        agreement=share((human_N == judge_N).astype(np.float64)),
        consistency=share((first_N == second_N).astype(np.float64)),
        first_place=_share((first_N[torn_N] > 0).astype(np.float64)),
        num_pairs=len(pairs),
        num_human_ties=int((~decided_N).sum()),
        num_judge_ties=int((judge_N == 0).sum()),
    )


def _share(scores_N: np.ndarray) -> Interval | None:
    return share(scores_N) if len(scores_N) else None
