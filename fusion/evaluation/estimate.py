"""A benchmark's score with its 95% interval, and the paired difference of two models, on the benchmark's own scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from fusion.evaluation.benchmark import Average, Benchmark, Metric
from fusion.evaluation.intervals import (
    RESAMPLES,
    Z95,
    Interval,
    Scores,
    difference,
    mean_over_domains,
    seed_of,
    share,
)
from fusion.evaluation.item_scores import ItemScores

POWER = 0.8
"""Chance of noticing a difference that `detectable` names."""
Z_POWER = 0.8416212335729143
"""Normal quantile of POWER."""


def estimate(benchmark: Benchmark, scores: ItemScores) -> Interval:
    """The score over all items of `scores`. Several samples of an item are one observation, never several."""
    groups = by_group(benchmark, scores.scores, scores.groups)
    if benchmark.metric is Metric.PARTS:
        return _weighted_mean(benchmark, *_with_weights(scores, sorted(scores.scores)))
    if benchmark.metric is Metric.PASSED and len(groups) == 1:
        return share(*groups.values())
    return _mean_over_groups(benchmark, groups, benchmark.low, benchmark.high)


def compare(benchmark: Benchmark, ours: ItemScores, theirs: ItemScores) -> tuple[Interval, Scores]:
    """Ours minus theirs over the items that both have, and the difference of each of these items.

    Raises:
        ValueError: they have no item in common.
    """
    shared = sorted(ours.scores.keys() & theirs.scores.keys())
    if not shared:
        raise ValueError("the two have no item in common")
    gap_N = np.array([ours.scores[item] - theirs.scores[item] for item in shared])
    span = benchmark.high - benchmark.low
    if benchmark.metric is Metric.PARTS:
        weights_N = np.array([ours.weights[item] for item in shared])
        return _weighted_mean(benchmark, gap_N, weights_N, low=-span), gap_N
    if benchmark.metric is Metric.PASSED and benchmark.average is Average.ITEMS:
        mine, other = (np.array([one.scores[item] for item in shared]) for one in (ours, theirs))
        return difference(mine, other), gap_N
    groups = by_group(benchmark, dict(zip(shared, gap_N, strict=True)), ours.groups)
    return _mean_over_groups(benchmark, groups, -span, span), gap_N


def detectable(benchmark: Benchmark, scores: ItemScores, gap_N: Scores | None = None) -> float:
    """The least true difference of two models that such a benchmark notices with 80% power at p < 0.05.

        (z_0.975 + z_0.8) * sd(difference of an item) / sqrt(N)

    Args:
        gap_N: differences of items of a pair; None: two models that score as this one does and err independently, so
            sd^2 is twice the variance of one item.

    Example: 40 items, half of them right, no pair: 0.31.
    """
    values_N = np.array([scores.scores[item] for item in sorted(scores.scores)])
    variance = 2 * float(values_N.var()) if gap_N is None else float(gap_N.var())
    count = len(values_N) if gap_N is None else len(gap_N)
    if variance == 0.0:  # all alike: as if one item more were right, and one more wrong
        variance = 2 * (1 / (count + 2)) * (1 - 1 / (count + 2)) * (benchmark.high - benchmark.low) ** 2
    return (Z95 + Z_POWER) * math.sqrt(variance / count)


def by_group(benchmark: Benchmark, values: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, Scores]:
    """Values of items in order, one array a group; one array where groups do not matter."""
    found: dict[str, list[float]] = {}
    for item in sorted(values):
        name = "" if benchmark.average is Average.ITEMS else groups[item]
        found.setdefault(name, []).append(values[item])
    return {name: np.array(found[name]) for name in sorted(found)}


def nested_parts(names: Sequence[str]) -> list[float]:
    """What each group counts for where groups of one parent count alike, and parents likewise.

    Example: nested_parts(["math/olympiad", "math/amps", "coding/completion"]) == [0.25, 0.25, 0.5]
    """
    children: dict[str, set[str]] = {}
    for name in names:
        for parent, child in _levels(name):
            children.setdefault(parent, set()).add(child)
    return [math.prod(1 / len(children[parent]) for parent, _ in _levels(name)) for name in names]


def _levels(name: str) -> list[tuple[str, str]]:
    """Example: _levels("math/olympiad") == [("", "math"), ("math", "math/olympiad")]"""
    ends = [*(at for at, letter in enumerate(name) if letter == "/"), len(name)]
    paths = ["", *(name[:end] for end in ends)]
    return list(itertools.pairwise(paths))


def _mean_over_groups(benchmark: Benchmark, groups: Mapping[str, Scores], low: float, high: float) -> Interval:
    parts = nested_parts(list(groups)) if benchmark.average is Average.NESTED else None
    return mean_over_domains(list(groups.values()), low=low, high=high, parts=parts)


def _with_weights(scores: ItemScores, items: Sequence[str]) -> tuple[Scores, Scores]:
    return np.array([scores.scores[item] for item in items]), np.array([scores.weights[item] for item in items])


def _weighted_mean(benchmark: Benchmark, values_N: Scores, weights_N: Scores, low: float | None = None) -> Interval:
    """sum w x / sum w, with a bootstrap over items: the parts of one item stay together."""
    least = benchmark.low if low is None else low
    rng = np.random.default_rng(seed_of([values_N, weights_N]))
    counts_RN = rng.multinomial(len(values_N), np.full(len(values_N), 1 / len(values_N)), size=RESAMPLES // 5)
    means_R = (counts_RN @ (values_N * weights_N)) / (counts_RN @ weights_N)
    value = float((values_N * weights_N).sum() / weights_N.sum())
    bounds = np.quantile(means_R, [0.025, 0.975])
    return Interval(value, max(least, min(value, float(bounds[0]))), min(benchmark.high, max(value, float(bounds[1]))))
