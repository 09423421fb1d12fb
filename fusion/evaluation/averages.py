"""Means over benchmarks: as papers print them, with scales made equal, and without judged benchmarks.

FuseChat-3.0 (arXiv 2503.04222) averages fourteen numbers as they are printed, of which two are marks from 1 to 10 and
twelve are percents: the two then count for a tenth of the others. With scales made equal, each benchmark counts alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fusion.evaluation.benchmark import Benchmark
from fusion.evaluation.intervals import Interval

_Scale = Callable[[Benchmark, float], float]


@dataclass(frozen=True, slots=True)
class Averages:
    """Of one model, over the benchmarks that count. All in points, 0 to 100. None: it has not answered them all."""

    as_printed: Interval | None
    """The paper's way."""
    equal_scales: Interval | None
    """Each benchmark's scale stretched to 0-100."""
    not_judged: Interval | None
    """As `equal_scales`, of the benchmarks that no language model judges; None: there are none."""


def averages(benchmarks: Mapping[str, Benchmark], scores: Mapping[str, Interval]) -> Averages:
    """Averages of one model.

    Args:
        scores: benchmark -> score with interval, on the benchmark's own scale.
    """
    counted = {name: one for name, one in benchmarks.items() if one.compared}
    plain = {name: one for name, one in counted.items() if not one.is_judged}
    return Averages(
        _mean(counted, scores, lambda one, score: one.printed * score),
        _mean(counted, scores, lambda one, score: 100 * one.rescaled(score)),
        _mean(plain, scores, lambda one, score: 100 * one.rescaled(score)),
    )


def combined(intervals: Sequence[Interval]) -> Interval:
    """Mean of independent estimates, its interval by the squares of their own half widths.

        low = mean - sqrt(sum (value_i - low_i)^2) / k;  high likewise

    (the method of variance estimates recovery, Zou and Donner 2008), which keeps the asymmetry of each interval.
    Benchmarks are fixed: the interval is for other items of the same benchmarks, not for other benchmarks.
    """
    count = len(intervals)
    mean = sum(one.value for one in intervals) / count
    below = math.sqrt(sum((one.value - one.low) ** 2 for one in intervals)) / count
    above = math.sqrt(sum((one.high - one.value) ** 2 for one in intervals)) / count
    return Interval(mean, mean - below, mean + above)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the same order.

    Example: holm([0.01, 0.04]) == [0.02, 0.04]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, p_values[i] * (len(p_values) - rank)))
        corrected[i] = largest
    return corrected


def _mean(benchmarks: Mapping[str, Benchmark], scores: Mapping[str, Interval], scale: _Scale) -> Interval | None:
    if not benchmarks or not benchmarks.keys() <= scores.keys():
        return None
    return combined(
        [
            Interval(*(scale(benchmarks[name], bound) for bound in (one.value, one.low, one.high)))
            for name, one in scores.items()
            if name in benchmarks
        ]
    )
