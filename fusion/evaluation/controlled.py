"""Win rates under control of a benchmark's models: which regression, over which items."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fusion.errors import StepFailed
from fusion.evaluation.benchmark import Benchmark, Metric
from fusion.evaluation.bradley_terry import Battle, win_rates
from fusion.evaluation.intervals import Interval
from fusion.evaluation.item_scores import ItemScores
from fusion.evaluation.length_controlled import length_controlled
from fusion.schema import prompt_id


def controlled_rates(benchmark: Benchmark, found: Mapping[str, ItemScores]) -> dict[str, Interval]:
    """Model -> rate on the benchmark's scale; empty for a metric without control.

    Raises:
        StepFailed: the baseline answered none of the items.
    """
    if benchmark.metric not in (Metric.LENGTH_CONTROLLED, Metric.STYLE_CONTROLLED) or not found:
        return {}
    ids = {prompt.key: prompt_id(prompt.messages, prompt.reference) for prompt in benchmark.data.read()}
    baseline = benchmark.control.styles(ids)
    if not baseline.keys() & set().union(*(scores.scores for scores in found.values())):
        raise StepFailed(f"{benchmark.title}: the baseline in {benchmark.control.baseline.path} answered no item")
    if benchmark.metric is Metric.STYLE_CONTROLLED:
        return win_rates(
            [
                Battle(model, item, scores.scores[item], scores.styles[item], baseline[item])
                for model, scores in found.items()
                for item in sorted(scores.scores.keys() & baseline.keys())
            ]
        )
    difficulties = benchmark.control.difficulties(ids)
    rates = {}
    for model, scores in found.items():
        items = sorted(scores.scores.keys() & baseline.keys() & (difficulties.keys() or scores.scores.keys()))
        rates[model] = length_controlled(
            np.array([scores.scores[item] for item in items]),
            np.array([float(scores.styles[item].chars) for item in items]),
            np.array([float(baseline[item].chars) for item in items]),
            np.array([difficulties[item] for item in items]) if difficulties else None,
            benchmark.control.length,
        )
    return rates
