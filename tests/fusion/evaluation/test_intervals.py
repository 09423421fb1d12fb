import numpy as np
import pytest

from fusion.evaluation.intervals import Interval, difference, mean_over_domains, p_value, share, sign_test


def scores(*runs: tuple[float, int]) -> np.ndarray:
    """`(1.0, 3), (0.0, 2)` -> three ones and two zeros."""
    return np.concatenate([np.full(count, value) for value, count in runs])


def test_share_is_wilsons_published_example():
    """Newcombe 1998, 81 of 263: 0.2553 to 0.3662."""
    found = share(scores((1.0, 81), (0.0, 182)))
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (0.0, 0.0, 0.0876),  # z^2 / (40 + z^2)
        (1.0, 0.9124, 1.0),
    ],
)
def test_share_stays_uncertain_when_all_prompts_agree(value, low, high):
    found = share(scores((value, 40)))
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_repeated_samples_of_a_prompt_are_not_new_evidence():
    """Four equal samples of each prompt say what one says."""
    one, four_equal = scores((1.0, 10), (0.0, 10)), scores((4 / 4, 10), (0 / 4, 10))
    assert share(four_equal) == share(one)


def test_samples_that_differ_narrow_the_interval():
    independent = scores((0.25, 5), (0.5, 10), (0.75, 5))
    assert share(independent).high < share(scores((1.0, 10), (0.0, 10))).high


def test_difference_is_newcombes_published_example():
    """Newcombe 1998, paired, method 10, cells 36, 12, 2, 0: 0.0569 to 0.3404."""
    ours = scores((1.0, 36), (1.0, 12), (0.0, 2))
    theirs = scores((1.0, 36), (0.0, 12), (1.0, 2))
    found = difference(ours, theirs)
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0569, 0.3404)


def test_swapping_the_models_mirrors_the_difference():
    rng = np.random.default_rng(0)
    ours, theirs = rng.integers(0, 2, (2, 40)).astype(float)
    one, other = difference(ours, theirs), difference(theirs, ours)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_pairing_narrows_the_interval():
    ours = scores((1.0, 22), (0.0, 18))
    theirs = scores((1.0, 18), (0.0, 22))
    unpaired = difference(ours, theirs[::-1])
    assert difference(ours, theirs).low > unpaired.low


@pytest.mark.parametrize(
    ("wins", "losses", "p_value"),
    [
        (0, 0, 1.0),
        (5, 0, 0.0625),  # 2 / 2^5
        (8, 2, 0.109375),  # 2 (1 + 10 + 45) / 2^10
        (2, 8, 0.109375),
        (3, 3, 1.0),
    ],
)
def test_sign_test_is_exact(wins, losses, p_value):
    assert sign_test(wins, losses) == p_value


def test_mean_over_domains_does_not_weigh_by_size():
    found = mean_over_domains([scores((1.0, 10)), scores((0.0, 90))], low=0.0, high=1.0)
    assert found.value == 0.5


def test_mean_over_domains_agrees_with_the_normal_interval():
    """Standard error of the mean of four domains with N = 400 and p = 0.5: sqrt(4 * 0.25 / 399) / 4 = 0.01252."""
    found = mean_over_domains([scores((1.0, 200), (0.0, 200))] * 4, low=0.0, high=1.0)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.01252, rel=0.04)


def test_the_same_scores_give_the_same_interval():
    domains = [scores((1.0, 7), (0.5, 9), (0.0, 4)), scores((1.0, 3), (0.0, 17))]
    assert mean_over_domains(domains, low=0.0, high=1.0) == mean_over_domains(domains, low=0.0, high=1.0)


def test_intervals_cover_the_truth_as_often_as_they_say(monkeypatch):
    """95% of 600 simulated evaluations of five domains with 40 prompts; three standard errors are 2.7 points."""
    monkeypatch.setattr("fusion.evaluation.intervals.RESAMPLES", 1000)
    rng = np.random.default_rng(7)
    truth, gain, loss = np.array([0.06, 0.2, 0.33, 0.5, 0.7])[:, None], 0.1, 0.1
    win = (gain + loss * truth) / (1 - truth)
    hits = {"share": 0, "overall": 0, "difference": 0}
    for _ in range(600):
        before = rng.random((5, 40)) < truth
        after = np.where(before, rng.random((5, 40)) >= loss, rng.random((5, 40)) < win).astype(float)
        one, paired = share(before[2].astype(float)), difference(after[2], before[2].astype(float))
        overall = mean_over_domains(list(after - before), low=-1.0, high=1.0)
        hits["share"] += one.low <= truth[2] <= one.high
        hits["difference"] += paired.low <= gain <= paired.high
        hits["overall"] += overall.low <= gain <= overall.high
    assert {name: hit / 600 for name, hit in hits.items() if not 0.923 <= hit / 600 <= 0.98} == {}


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (Interval(0.35, 0.0, 0.4), 0.05),
        (Interval(-0.35, -0.9, 0.0), 0.05),
        (Interval(0.0, -0.1, 0.2), 1.0),
        (Interval(0.2, 0.2, 0.2), 0.0),
        (Interval(0.0, 0.0, 0.0), 1.0),
    ],
)
def test_p_value_is_that_of_the_side_that_faces_zero(gap, expected):
    assert p_value(gap) == pytest.approx(expected, abs=1e-4)


def test_p_value_and_interval_agree():
    assert p_value(Interval(0.1, 0.01, 0.2)) < 0.05 < p_value(Interval(0.1, -0.01, 0.12))
