"""95% intervals for shares, for their mean over domains, and for paired differences of both.

The unit that varies is the prompt: a prompt's score is the share of its samples that passed, in [0, 1], so several
samples of a prompt are one cluster and never count as independent evidence. Intervals of one domain are closed forms
(Wilson, Newcombe); the mean over domains is a bootstrap stratified by domain. Everything is a pure function of its
arrays: the bootstrap's seed is a hash of them.

N: prompts of one domain.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]

Z95 = NormalDist().inv_cdf(0.975)
RESAMPLES = 10_000
"""Monte Carlo error of a bound is then about 1% of the interval's width."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and its 95% interval. Example: Interval(0.58, 0.51, 0.65)"""

    value: float
    low: float
    high: float


def share(scores_N: Scores) -> Interval:
    """Mean score of one domain with Wilson's interval, which stays inside [0, 1] and is not empty at 0 or 1.

    With several samples a prompt the number of trials is the effective one, mean * (1 - mean) / variance of the mean:
    equal to N with one sample, larger the more the samples of a prompt differ. At 0 or 1 it is N.
    """
    return wilson(float(scores_N.mean()), _effective_trials(scores_N))


def wilson(mean: float, trials: float) -> Interval:
    """Wilson's score interval (1927) for `mean` in [0, 1] of `trials` Bernoulli trials."""
    z2 = Z95**2
    centre = (mean + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 / (1 + z2 / trials) * math.sqrt(mean * (1 - mean) / trials + z2 / (4 * trials**2))
    return Interval(mean, max(0.0, min(mean, centre - half)), min(1.0, max(mean, centre + half)))


def difference(ours_N: Scores, theirs_N: Scores) -> Interval:
    """Mean of ours minus theirs on the same prompts: Newcombe's paired interval (1998, method 10).

        low = d - sqrt(a^2 - 2 phi a b + b^2),  a = p1 - l1, b = u2 - p2;  high likewise

    with Wilson bounds l, u of each side and phi their correlation, corrected for continuity. Unlike a bootstrap it
    does not collapse to a point when all prompts agree.
    """
    ours, theirs = share(ours_N), share(theirs_N)
    phi = _corrected_correlation(ours_N, theirs_N)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    gap = ours.value - theirs.value
    below = reach(ours.value - ours.low, theirs.high - theirs.value)
    above = reach(ours.high - ours.value, theirs.value - theirs.low)
    return Interval(gap, gap - below, gap + above)


def mean_over_domains(
    domains: Sequence[Scores], *, low: float, high: float, parts: Sequence[float] | None = None
) -> Interval:
    """Mean of domain means, percentile bootstrap over prompts, stratified by domain.

    For a paired difference pass the per-prompt differences.

    Args:
        domains: one array of scores a domain, each with at least one prompt.
        low, high: the range a mean can take ([0, 1] for scores, [-1, 1] for differences).
        parts: what each domain counts for; together 1. None: all alike.
    """
    rng = np.random.default_rng(seed_of(domains))
    factors = [1.0] * len(domains) if parts is None else [part * len(domains) for part in parts]
    means_R = np.zeros(RESAMPLES)
    for factor, scores_N in zip(factors, domains, strict=True):
        means_R += factor * _resampled_means(scores_N, rng)
    value = float(np.mean([factor * scores_N.mean() for factor, scores_N in zip(factors, domains, strict=True)]))
    bounds = np.quantile(means_R / len(domains), [0.025, 0.975])
    return Interval(value, max(low, min(value, float(bounds[0]))), min(high, max(value, float(bounds[1]))))


def seed_of(domains: Sequence[Scores]) -> int:
    """Seed of a bootstrap, made from what is resampled: the same data has the same interval."""
    digest = hashlib.sha256()
    for scores_N in domains:
        digest.update(len(scores_N).to_bytes(8, "big"))
        digest.update(np.ascontiguousarray(scores_N, dtype="<f8").tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p-value of wins and losses being equally likely; with one sample a prompt, McNemar's test."""
    trials = wins + losses
    if trials == 0:
        return 1.0
    tail = sum(math.comb(trials, k) for k in range(min(wins, losses) + 1))
    return float(min(1.0, 2 * tail / 2**trials))


def p_value(gap: Interval) -> float:
    """Two-sided p-value of a difference being zero, by the side of its 95% interval that faces zero, as if normal: it
    is below 0.05 where the interval leaves zero out."""
    reach = gap.value - gap.low if gap.value > 0 else gap.high - gap.value
    if reach <= 0.0:
        return 0.0 if gap.value else 1.0
    return 2 * NormalDist().cdf(-abs(gap.value) / (reach / Z95))


def _effective_trials(scores_N: Scores) -> float:
    mean, variance = float(scores_N.mean()), float(scores_N.var())
    if variance == 0.0 or mean in (0.0, 1.0):
        return float(len(scores_N))
    return len(scores_N) * mean * (1 - mean) / variance


def _corrected_correlation(ours_N: Scores, theirs_N: Scores) -> float:
    spread = float(ours_N.std() * theirs_N.std())
    if spread == 0.0:
        return 0.0
    covariance = float(np.mean(ours_N * theirs_N) - ours_N.mean() * theirs_N.mean())
    if covariance > 0:
        covariance = max(0.0, covariance - 1 / (2 * len(ours_N)))
    return covariance / spread


def _resampled_means(scores_N: Scores, rng: np.random.Generator) -> Scores:
    """Means of bootstrap resamples. Only how often each distinct value is drawn matters: a multinomial.

    Deviations are stretched by sqrt(N / (N - 1)), as resamples of N vary less than N fresh prompts would.
    """
    num_prompts = len(scores_N)
    values, counts = np.unique(scores_N, return_counts=True)
    draws = rng.multinomial(num_prompts, counts / num_prompts, size=RESAMPLES)
    means_R = draws @ values / num_prompts
    stretch = math.sqrt(num_prompts / max(1, num_prompts - 1))
    return np.asarray(scores_N.mean() + (means_R - scores_N.mean()) * stretch)
