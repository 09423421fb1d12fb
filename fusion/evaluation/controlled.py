"""Win rates of a benchmark's models that are fits, and their differences: which regression, over which items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusion.errors import StepFailed
from fusion.evaluation.benchmark import Benchmark, Metric
from fusion.evaluation.bradley_terry import Battle, rate_gaps, win_rates
from fusion.evaluation.intervals import Interval
from fusion.evaluation.item_scores import ItemScores
from fusion.evaluation.length_controlled import length_controlled, length_controlled_gap
from fusion.evaluation.logistic import Array
from fusion.evaluation.style import Style
from fusion.schema import prompt_id

Pair = tuple[str, str]
"""(model, against)"""


@dataclass(frozen=True)
class _Field:
    """What models are compared over: the baseline's answers, and how hard the items are (empty: not known)."""

    baseline: Mapping[str, Style]
    difficulties: Mapping[str, float]

    def items(self, *models: ItemScores) -> list[str]:
        """Those that all have and that the regression can use."""
        known = self.baseline.keys() & (self.difficulties.keys() or self.baseline.keys())
        return sorted(known.intersection(*(model.scores for model in models)))

    def lengths(self, items: Sequence[str]) -> Array:
        return np.array([float(self.baseline[item].chars) for item in items])

    def difficulty(self, items: Sequence[str]) -> Array | None:
        return np.array([self.difficulties[item] for item in items]) if self.difficulties else None


def controlled_rates(benchmark: Benchmark, found: Mapping[str, ItemScores]) -> dict[str, Interval]:
    """Model -> rate on the benchmark's scale; empty for a metric that is no fit.

    Raises:
        StepFailed: the baseline answered none of the items.
    """
    known = _field(benchmark, found)
    if known is None:
        return {}
    if benchmark.metric.is_of_games:
        return win_rates(_battles(known, found), is_controlled=benchmark.metric is Metric.STYLE_CONTROLLED)
    rates = {}
    for model, scores in found.items():
        items = known.items(scores)
        control, lengths, difficulty = benchmark.control.length, known.lengths(items), known.difficulty(items)
        rates[model] = length_controlled(*_judged(scores, items), lengths, difficulty, control)
    return rates


def controlled_gaps(
    benchmark: Benchmark, found: Mapping[str, ItemScores], pairs: Sequence[Pair]
) -> dict[Pair, Interval]:
    """Differences of `controlled_rates`, of pairs that share items; empty for a metric that is no fit."""
    known = _field(benchmark, found)
    if known is None:
        return {}
    shared = {
        (one, other): items
        for one, other in pairs
        if one in found and other in found and (items := known.items(found[one], found[other]))
    }
    if benchmark.metric.is_of_games:
        is_controlled = benchmark.metric is Metric.STYLE_CONTROLLED
        return rate_gaps(_battles(known, found), list(shared), is_controlled=is_controlled)
    gaps = {}
    for pair, items in shared.items():
        preferences, lengths = zip(*(_judged(found[model], items) for model in pair), strict=True)
        gaps[pair] = length_controlled_gap(
            np.stack(preferences), np.stack(lengths), known.lengths(items), known.difficulty(items),
            benchmark.control.length,
        )  # fmt: skip
    return gaps


def _field(benchmark: Benchmark, found: Mapping[str, ItemScores]) -> _Field | None:
    is_rated = benchmark.metric is Metric.LENGTH_CONTROLLED
    if not (is_rated or benchmark.metric.is_of_games) or not found:
        return None
    prompts = [(prompt, prompt_id(prompt.messages, prompt.reference)) for prompt in benchmark.data.read()]
    ids = {prompt.asked: own for prompt, own in prompts} | {prompt.key: own for prompt, own in prompts}
    baseline = benchmark.control.styles(ids)
    if not baseline.keys() & set().union(*(scores.scores for scores in found.values())):
        raise StepFailed(f"{benchmark.title}: the baseline in {benchmark.control.baseline.path} answered no item")
    return _Field(baseline, benchmark.control.difficulties(ids) if is_rated else {})


def _battles(known: _Field, found: Mapping[str, ItemScores]) -> list[Battle]:
    return [
        Battle(model, item, scores.scores[item], scores.styles[item], known.baseline[item], scores.weights[item])
        for model, scores in found.items()
        for item in known.items(scores)
    ]


def _judged(scores: ItemScores, items: Sequence[str]) -> tuple[Array, Array]:
    """Preferences, and lengths in characters."""
    return np.array([scores.scores[i] for i in items]), np.array([float(scores.styles[i].chars) for i in items])
