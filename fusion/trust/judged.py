"""Scored answers without their texts, and how they rank within a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Judged:
    """One scored answer."""

    prompt_id: str
    source: str
    value: float
    length: float
    """Characters, or any other measure of size."""
    is_right: bool | None = None
    """What a verifier said; None: it did not decide, or there is none."""


def by_prompt(rows: Sequence[Judged]) -> Mapping[str, list[Judged]]:
    """Rows of each prompt, in the order of the prompts' ids."""
    found: dict[str, list[Judged]] = {}
    for row in sorted(rows, key=lambda row: row.prompt_id):
        found.setdefault(row.prompt_id, []).append(row)
    return found


def mid_ranks(values: Sequence[float]) -> Ranks:
    """Ranks from 1, equal values sharing the mean of theirs. Example: mid_ranks([5, 1, 5]) == [2.5, 1, 2.5]"""
    array = np.asarray(values, np.float64)
    below = (array[:, None] > array[None, :]).sum(1)
    equal = (array[:, None] == array[None, :]).sum(1)
    return np.asarray(below + (equal + 1) / 2, np.float64)


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Rank correlation, ties by mid-ranks; None where one of the two does not vary."""
    a, b = (ranks - ranks.mean() for ranks in (mid_ranks(one), mid_ranks(other)))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else None


def superiority(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Chance that a value of ours is above one of theirs, ties counting half (the area under the ROC curve)."""
    mine, others = np.asarray(ours, np.float64)[:, None], np.asarray(theirs, np.float64)[None, :]
    return float(((mine > others) + 0.5 * (mine == others)).mean())
