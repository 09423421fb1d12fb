"""From verdicts to one number an item."""

from __future__ import annotations

import pyarrow as pa
import pytest

from fusion.evaluation.benchmark import Benchmark, Metric
from fusion.evaluation.item_scores import Answer, ItemScores, item_scores


def scored(metric: Metric, *verdicts: tuple[str, float | None, str]) -> ItemScores:
    """Of one item, a sample a verdict (outcome, value, detail)."""
    rows = [
        {"prompt_id": "p", "sample_index": i, "outcome": outcome, "value": value, "detail": detail}
        for i, (outcome, value, detail) in enumerate(verdicts)
    ]
    prompts = pa.table({"prompt_id": ["p"], "domain": ["all"], "reference": pa.array([None], pa.string())})
    answers = [Answer("p", i, "text", "stop") for i in range(len(rows))]
    return item_scores(Benchmark(title="t", area="a", metric=metric), prompts, answers, pa.Table.from_pylist(rows))


STRONG = ("not_applicable", 1.0, "first: strong win, second: strong win; games 3")
SLIGHT = ("not_applicable", 0.0, "first: loss, second: loss")
FAILED = ("error", None, "no verdict in double square brackets")


@pytest.mark.parametrize(
    ("metric", "verdicts", "score", "weight"),
    [
        (Metric.WIN_RATE, (STRONG, SLIGHT), 3 / 4, 2.0),
        (Metric.STYLE_CONTROLLED, (STRONG, SLIGHT), 3 / 4, 2.0),
        (Metric.STYLE_CONTROLLED, (STRONG,), 1.0, 3.0),
        (Metric.WIN_RATE, (FAILED,), 0.0, 1.0),  # a game lost
        (Metric.VALUE, (STRONG, SLIGHT), 1 / 2, 1.0),  # samples count alike
    ],
)
def test_a_win_rate_counts_games(metric: Metric, verdicts, score: float, weight: float) -> None:
    found = scored(metric, *verdicts)
    assert (found.scores["p"], found.weights["p"]) == (pytest.approx(score), weight)
    assert found.undecided == verdicts.count(FAILED)
