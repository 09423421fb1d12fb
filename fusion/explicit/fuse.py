"""MinCE and AvgCE: several models' distributions over one text become one target (FuseLLM, arXiv 2401.10491, eq. 5-7;
FuseChat, arXiv 2408.07990).

    CE_j  = -(1/n_j) sum_t log P_j(x_t | x_<t)
    MinCE:  P = P_argmin_j CE_j          AvgCE:  P = sum_j w_j P_j,  w = softmax(-CE)

Cross-entropies are compared in fp64: in bf16 ties are common, and then the first model, the pivot, always wins.

Shapes: J models (the pivot first), P pivot tokens, k candidates of a model, K of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.explicit.config import FuseConfig, FuseRule, Misaligned, Per, Scope
from fusion.explicit.distributions import Expected, probabilities
from fusion.explicit.spans import Spans

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Carried:
    """One model's distributions at the pivot's places."""

    ids: np.ndarray
    """Pivot ids, int64 [P, k]; -1: no candidate."""
    probs: np.ndarray
    """float64 [P, k]; 0 where there is no candidate."""
    cross_entropy_P: np.ndarray
    """Of the text around each place, float64 [P]; one number for all of them where the scope is the sequence."""
    is_aligned_P: np.ndarray
    """Whether the model has a place for the pivot's, bool [P]; it may still have no candidate there."""


@dataclass(frozen=True)
class Target:
    """What is learnt of one response."""

    ids: np.ndarray
    """int64 [P, K]; -1: no candidate."""
    probs: np.ndarray
    """float64 [P, K]."""
    winner: int | None
    """The model that all of it comes from; None: several."""
    source_frac: float
    """Share of places at which another model than the pivot has a say."""


def fuse(models: Sequence[Carried], labels: np.ndarray, config: FuseConfig) -> Target:
    """One target from the pivot's distributions and those that were carried over.

    Args:
        models: the pivot first.
        labels: the pivot's tokens [P].
    """
    import numpy as np

    weights_JP = _weights(np.stack([model.cross_entropy_P for model in models]), config.rule)
    empty_JP = np.stack([(model.probs <= 0).all(axis=1) for model in models])
    # Where a model has nothing to say its weight goes to the pivot, or else to the token that comes next.
    to_pivot_JP = empty_JP & ~empty_JP[0]
    if config.misaligned is Misaligned.ONE_HOT:
        to_pivot_JP[:] = False
    elif config.misaligned is Misaligned.PAPERS:
        to_pivot_JP &= np.stack([model.is_aligned_P for model in models])
    spoken_JP = np.where(empty_JP, 0.0, weights_JP)
    spoken_JP[0] += np.where(to_pivot_JP, weights_JP, 0.0).sum(axis=0)
    stand_in_P = np.where(empty_JP & ~to_pivot_JP, weights_JP, 0.0).sum(axis=0)
    ids = np.concatenate([*(model.ids for model in models), labels[:, None]], axis=1)
    parts = [w[:, None] * model.probs for w, model in zip(spoken_JP, models, strict=True)]
    ids, probs = _summed(ids, np.concatenate([*parts, stand_in_P[:, None]], axis=1))
    says_P = spoken_JP[1:].sum(axis=0) > 0
    winners = np.flatnonzero((weights_JP == 1.0).all(axis=1))
    return Target(ids, probs, int(winners[0]) if len(winners) else None, float(says_P.mean()) if len(says_P) else 0.0)


def carried_model(
    ids: np.ndarray, logprobs: np.ndarray, is_aligned_P: np.ndarray, cross_entropy_P: np.ndarray, config: FuseConfig
) -> Carried:
    """Candidates at the pivot's places as probabilities."""
    import numpy as np

    probs = probabilities(logprobs, config.temperature, config.keeps_residual)
    return Carried(ids, np.where(ids < 0, 0.0, probs), cross_entropy_P, is_aligned_P)


def cross_entropies(models: Sequence[tuple[Expected, Spans]], config: FuseConfig) -> list[np.ndarray]:
    """Cross-entropy of each model at each place of the first one, the pivot; float64 [P] each.

    By sequence it is one number. By token it is that of the stretch around the place: the text between two byte offsets
    at which every model has a token's end, of which each model reads the same bytes.
    """
    import numpy as np

    pivot = models[0][1]
    if config.scope is Scope.SEQUENCE:
        sums = [(-expected.logprobs.sum(), _length(expected, config.per)) for expected, _ in models]
        return [np.full(len(pivot), total / length) for total, length in sums]
    bounds = models[0][1].ends
    for _, one in models[1:]:
        bounds = np.intersect1d(bounds, one.ends)
    found = []
    for expected, one in models:
        stretch_T = _stretches(one, bounds)
        losses = np.bincount(stretch_T, -expected.logprobs, len(bounds) + 1)
        counts = np.bincount(stretch_T, minlength=len(bounds) + 1) if config.per is Per.TOKEN else 1
        found.append((losses / np.maximum(counts, 1))[_stretches(pivot, bounds)])
    return found


def _stretches(one: Spans, bounds: np.ndarray) -> np.ndarray:
    """Number of the stretch of each token; the end of turn is a stretch of its own."""
    import numpy as np

    numbers = np.searchsorted(bounds, one.ends, side="left")
    numbers[-1] = len(bounds)
    return numbers


def _length(expected: Expected, per: Per) -> int:
    return max(1, len(expected.token_ids) if per is Per.TOKEN else expected.num_bytes)


def _weights(ce_JP: np.ndarray, rule: FuseRule) -> np.ndarray:
    """Weight of each model at each place, float64 [J, P]; of equal cross-entropies the first wins."""
    import numpy as np

    if rule is FuseRule.AVG_CE:
        weights = np.exp(ce_JP.min(axis=0) - ce_JP)
        return np.asarray(weights / weights.sum(axis=0))
    return np.asarray(np.arange(len(ce_JP))[:, None] == ce_JP.argmin(axis=0), dtype=np.float64)


def _summed(ids: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of a place that are one token added up; those of no probability left out (-1, 0)."""
    import numpy as np

    ids, probs = np.where(probs > 0, ids, -1), np.where(ids >= 0, probs, 0.0)
    order = np.argsort(ids, axis=1, kind="stable")
    ids, probs = np.take_along_axis(ids, order, 1), np.take_along_axis(probs, order, 1)
    for k in range(ids.shape[1] - 1, 0, -1):
        same = (ids[:, k] == ids[:, k - 1]) & (ids[:, k] >= 0)
        probs[same, k - 1] += probs[same, k]
        ids[same, k], probs[same, k] = -1, 0.0
    return ids, probs
