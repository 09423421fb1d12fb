"""Tables of benchmarks: scores by model, and paired differences, which the gate reads too.

Differences are on [0, 1] (each benchmark's own scale made so), so that marks from 1 to 10 weigh as much as percents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fusion.evaluation.averages import combined
from fusion.evaluation.benchmark import Average, Benchmark, Metric
from fusion.evaluation.compare import OVERALL, pairs_to_compare
from fusion.evaluation.controlled import controlled_gaps, controlled_rates
from fusion.evaluation.estimate import compare, detectable, estimate
from fusion.evaluation.intervals import Interval, Scores, p_value, sign_test
from fusion.evaluation.item_scores import ItemScores

Found = Mapping[str, Mapping[str, ItemScores]]
"""benchmark -> model -> scores."""


def benchmark_rows(benchmarks: Mapping[str, Benchmark], found: Found) -> list[dict[str, object]]:
    """BENCHMARK rows, in the order of the benchmarks and models."""
    rows: list[dict[str, object]] = []
    for name, benchmark in benchmarks.items():
        copy = benchmark.data.copy()
        answered = {model: scores for model, scores in found[name].items() if scores.scores}
        rates = controlled_rates(benchmark, answered)
        for model, scores in answered.items():
            interval = rates.get(model) or estimate(benchmark, scores)
            rows.append(
                {
                    "benchmark": name,
                    "model": model,
                    "score": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "n": len(scores.scores),
                    "num_samples": scores.num_samples,
                    "unparsed": scores.unparsed,
                    "undecided": scores.undecided,
                    "truncated": scores.truncated,
                    "mean_chars": sum(one.chars for one in scores.styles.values()) / len(scores.styles),
                    "detectable": detectable(benchmark, scores),
                    "content": copy.content,
                    "num_items": copy.num_items,
                }
            )
    return rows


def pairs(models: Sequence[str], against: str) -> list[tuple[str, str]]:
    """(model, against): base, sft, final and sources as in any evaluation, and each model with `against`."""
    usual = pairs_to_compare(models)
    return [*usual, *((m, against) for m in models if m != against and (m, against) not in usual and against in models)]


def comparison_rows(
    benchmarks: Mapping[str, Benchmark], found: Found, pairs: Sequence[tuple[str, str]]
) -> list[dict[str, object]]:
    """COMPARISON rows: each benchmark that both models answered, and overall where they share several that count."""
    controlled = {name: controlled_gaps(one, found[name], pairs) for name, one in benchmarks.items()}
    return [row for pair in pairs for row in _pair_rows(benchmarks, found, controlled, *pair)]


def _pair_rows(
    benchmarks: Mapping[str, Benchmark],
    found: Found,
    controlled: Mapping[str, Mapping[tuple[str, str], Interval]],
    model: str,
    against: str,
) -> Iterator[dict[str, object]]:
    counted: list[tuple[Interval, Scores]] = []
    for name, benchmark in benchmarks.items():
        ours, theirs = found[name].get(model), found[name].get(against)
        if ours is None or theirs is None or not ours.scores.keys() & theirs.scores.keys():
            continue
        gap, gap_N = compare(benchmark, ours, theirs)
        gap = controlled[name].get((model, against), gap)
        span = benchmark.high - benchmark.low
        scaled = Interval(gap.value / span, gap.low / span, gap.high / span)
        if benchmark.compared:
            counted.append((scaled, gap_N))
        is_mean = benchmark.average is Average.ITEMS and benchmark.metric in (Metric.PASSED, Metric.VALUE)
        yield _row(model, against, name, scaled, [gap_N], is_mean=is_mean)
    if counted:
        yield _row(
            model,
            against,
            OVERALL,
            combined([gap for gap, _ in counted]),
            [gap_N for _, gap_N in counted],
            is_mean=False,
        )


def _row(
    model: str, against: str, name: str, gap: Interval, gaps: Sequence[Scores], *, is_mean: bool
) -> dict[str, object]:
    """`is_mean`: the difference is the mean over items, so that a count of wins is a test of it."""
    wins, losses = (sum(int((sign * gap_N > 0).sum()) for gap_N in gaps) for sign in (1, -1))
    return {
        "model": model,
        "against": against,
        "domain": name,
        "difference": gap.value,
        "low": gap.low,
        "high": gap.high,
        "n": sum(len(gap_N) for gap_N in gaps),
        "wins": wins,
        "losses": losses,
        "p_value": sign_test(wins, losses) if is_mean else p_value(gap),
    }
