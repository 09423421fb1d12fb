"""How far scores that are stored agree with labels: judges that can be called no more, reward models, people.

A file has one pair of answers a row; templates (`fusion.prompts.row_template`) say which answer people prefer and what
each rater gave the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusion.errors import ConfigError
from fusion.evaluation.intervals import Interval, share
from fusion.judging.labelled import number
from fusion.prompts.row_template import holds, render
from fusion.prompts.rows import file_rows


@dataclass(frozen=True, slots=True)
class Rater:
    """Example: Rater("skywork", "{{ rm_scores.skywork[0] }}", "{{ rm_scores.skywork[1] }}")"""

    name: str
    first: str
    """Template of the score of the first answer."""
    second: str


@dataclass(frozen=True, slots=True)
class RaterAgreement:
    """Over the pairs that the labels decide."""

    name: str
    accuracy: Interval
    """1 where the rater prefers the same answer, 0.5 where it prefers none, 0 where it prefers the other."""
    num_pairs: int
    num_ties: int
    """Pairs of which the rater prefers none."""


def agreements(path: str, label: str, raters: Sequence[Rater], where: str = "") -> list[RaterAgreement]:
    """Each rater's agreement with the labels.

    Args:
        label: template of 1 (the first answer is better), 0 (the second is) or 0.5; the last do not count.
        where: condition that a row must meet.

    Raises:
        ConfigError: a template gives no number, or no pair is left.
    """
    right: dict[str, list[float]] = {rater.name: [] for rater in raters}
    for key, row in file_rows(Path(path)):
        if not isinstance(row, dict) or not holds(where, row, key):
            continue
        wanted = np.sign(number(render(label, row, key), key) - 0.5)
        if wanted == 0:
            continue
        for rater in raters:
            first, second = (number(render(text, row, key), key) for text in (rater.first, rater.second))
            right[rater.name].append(0.5 + 0.5 * float(wanted * np.sign(first - second)))
    if not all(right.values()):
        raise ConfigError(f"{path} holds no pair that the labels decide; look at label and where")
    return [
        RaterAgreement(name, share(np.array(found)), len(found), sum(one == 0.5 for one in found))
        for name, found in right.items()
    ]
