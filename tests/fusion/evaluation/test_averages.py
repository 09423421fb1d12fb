"""Averages, corrections and powers, against numbers written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusion.config import composed, typed
from fusion.evaluation.averages import averages, combined, holm
from fusion.evaluation.benchmark import Benchmark, Metric
from fusion.evaluation.estimate import compare, detectable, estimate, nested_parts
from fusion.evaluation.intervals import Interval
from fusion.evaluation.item_scores import ItemScores, over_turns
from fusion.evaluation.subjects import as_sources


def benchmark(**settings: object) -> Benchmark:
    return Benchmark(title="t", area="math", **settings)


def items(*values: float, weights: list[float] | None = None, groups: list[str] | None = None) -> ItemScores:
    names = [f"i{n}" for n in range(len(values))]
    return ItemScores(
        dict(zip(names, values, strict=True)),
        dict(zip(names, weights or [1.0] * len(names), strict=True)),
        dict(zip(names, groups or [""] * len(names), strict=True)),
    )


# FuseChat-3.0's table, Llama-3.1-8B-Instruct: 12 percents and two marks; the paper prints 40.5.
PERCENTS = [28.3, 28.1, 85.9, 50.7, 25.0, 27.6, 50.0, 67.2, 33.8, 69.5, 75.4, 12.3]
MARKS = [8.4, 4.6]


def test_the_average_as_printed_is_the_papers():
    chosen = {f"p{i}": benchmark(is_judged=i < 2) for i in range(12)}
    chosen |= {f"m{i}": benchmark(low=1.0, high=10.0, is_judged=True, metric=Metric.VALUE) for i in range(2)}
    found = {f"p{i}": Interval(value / 100, value / 100, value / 100) for i, value in enumerate(PERCENTS)}
    found |= {f"m{i}": Interval(value, value, value) for i, value in enumerate(MARKS)}
    means = averages(chosen, found)
    assert round(means.as_printed.value, 1) == 40.5
    # Marks 8.4 and 4.6 are 82.2 and 40.0 on 0-100: (553.8 + 122.2) / 14.
    assert means.equal_scales.value == pytest.approx((sum(PERCENTS) + 740 / 9 + 40) / 14)
    assert means.not_judged.value == pytest.approx(sum(PERCENTS[2:]) / 10)


def test_a_model_that_lacks_a_benchmark_has_no_average():
    means = averages({"a": benchmark(), "b": benchmark()}, {"a": Interval(0.5, 0.4, 0.6)})
    assert (means.as_printed, means.equal_scales, means.not_judged) == (None, None, None)


def test_a_second_protocol_does_not_count():
    means = averages({"a": benchmark(), "b": benchmark(compared=False)}, {"a": Interval(0.5, 0.4, 0.6)})
    assert means.as_printed.value == pytest.approx(50)


def test_intervals_of_a_mean_shrink_with_the_root_of_their_number():
    one = Interval(0.5, 0.4, 0.7)
    four = combined([one] * 4)
    assert (four.low, four.high) == (pytest.approx(0.45), pytest.approx(0.6))


def test_holm_multiplies_the_smallest_most_and_never_reverses():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_forty_problems_notice_no_less_than_thirty_points():
    half = items(*([1.0] * 20 + [0.0] * 20))
    assert detectable(benchmark(), half) == pytest.approx(2.8016 * (0.5 / 40) ** 0.5, rel=1e-3)
    assert detectable(benchmark(), half) > 0.3


def test_a_perfect_score_still_has_a_least_difference():
    assert 0.0 < detectable(benchmark(), items(*[1.0] * 40)) < 0.2


def test_parts_weigh_items_by_their_number():
    found = estimate(benchmark(metric=Metric.PARTS), items(1.0, 0.5, 0.0, weights=[1.0, 2.0, 3.0]))
    assert found.value == pytest.approx(2 / 6)
    assert found.low <= found.value <= found.high


def test_groups_count_alike_whatever_their_size():
    from fusion.evaluation.benchmark import Average

    found = estimate(benchmark(average=Average.GROUPS), items(1.0, 0.0, 0.0, 0.0, groups=["a", "b", "b", "b"]))
    assert found.value == pytest.approx(0.5)


NESTED = ["math/amps", "math/amps", "math/amc", "code/lcb", "code/lcb", "code/lcb", "code/lcb"]


def test_nested_groups_count_alike_on_each_level():
    """math: amps 1/2, amc 1; code: lcb 1/4. So (3/4 + 1/4) / 2, where items alike give 3/7 and groups alike 7/12."""
    from fusion.evaluation.benchmark import Average

    one = items(1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, groups=NESTED)
    assert estimate(benchmark(average=Average.NESTED), one).value == pytest.approx(1 / 2)
    assert estimate(benchmark(average=Average.GROUPS), one).value == pytest.approx(7 / 12)
    assert estimate(benchmark(average=Average.ITEMS), one).value == pytest.approx(3 / 7)
    none = items(*[0.0] * 7, groups=NESTED)
    assert compare(benchmark(average=Average.NESTED), one, none)[0].value == pytest.approx(1 / 2)


def test_parts_of_nested_groups_are_products_of_shares():
    assert nested_parts(["math/olympiad", "math/amps", "coding/completion"]) == [0.25, 0.25, 0.5]
    assert nested_parts(["a", "b"]) == [0.5, 0.5]
    assert nested_parts(["a/x/1", "a/x/2", "a/y/1", "b/x/1"]) == [0.125, 0.125, 0.25, 0.5]


def test_the_interval_of_nested_groups_is_as_wide_as_their_parts_make_it():
    """Shares p of n items each, weights w: the deviation is sqrt(sum w^2 p (1 - p) / n). Here w = 1/4, 1/4, 1/2."""
    from fusion.evaluation.benchmark import Average

    groups = [name for name in ("m/a", "m/b", "c/c") for _ in range(400)]
    found = estimate(benchmark(average=Average.NESTED), items(*[1.0, 0.0] * 600, groups=groups))
    deviation = ((1 / 16 + 1 / 16 + 1 / 4) * 0.25 / 400) ** 0.5
    assert found.value == pytest.approx(0.5)
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.05)


def test_samples_of_an_item_are_one_observation():
    """Eight samples of ten items tell as much as ten items when all samples of an item agree."""
    agreeing = estimate(benchmark(), items(*([1.0] * 5 + [0.0] * 5)))
    independent = estimate(benchmark(), items(*([0.5] * 9 + [0.625]), 0.375))
    assert agreeing.high - agreeing.low > 0.5
    assert independent.high - independent.low < 0.15


def test_pairs_are_compared_on_the_items_that_both_have():
    ours, theirs = items(1.0, 1.0, 0.0), items(0.0, 1.0)
    gap, gap_N = compare(benchmark(), ours, theirs)
    assert gap.value == pytest.approx(0.5)
    assert gap_N.tolist() == [1.0, 0.0]
    assert np.sign(gap.low) <= 0 < gap.high


def test_published_numbers_of_the_suite_are_the_papers():
    """Means of the table's columns that the suite's yaml files hold, computed from the paper's table by hand."""
    names = "alpaca_eval2_raw,gsm8k,amc23,mmlu_pro,mmlu,gpqa_diamond,humaneval,mbpp"
    from tests.shared_data import ROOT

    if not (ROOT / "math").exists():
        pytest.skip("the data sets are not at hand (set FUSION_DATA)")
    tree = composed(["experiment=eval", f"benchmark=[{names}]", f"data={ROOT}", "cluster=in_process"])
    chosen = typed(tree).benchmarks
    row = [chosen[name].published["llama31_8b/base"] for name in names.split(",")[1:]]
    assert row == [85.9, 25.0, 50.0, 67.2, 33.8, 69.5, 75.4]
    final = [chosen[name].published["llama31_8b/final"] for name in names.split(",")[1:]]
    assert final == [88.0, 37.5, 49.2, 69.2, 34.9, 71.3, 72.0]


def test_a_conversation_is_one_observation_whatever_its_turns():
    first, second = items(8.0, 4.0, 6.0), items(2.0, 4.0)
    both = over_turns(replace(first, num_samples=3), replace(second, num_samples=2), {"i0": "i0", "i1": "i2"})
    assert both.scores == {"i0": 5.0, "i1": 4.0, "i2": 5.0}
    assert both.num_samples == 5


def test_a_model_of_a_folder_named_base_is_not_the_target():
    assert list(as_sources(["runs/a/models/base"], ["base"])) == ["models_base"]
