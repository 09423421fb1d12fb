"""Intervals hold what they say they hold, and closed forms agree with tables."""

from __future__ import annotations

import random
from statistics import fmean

import pytest

from fusion.planning.estimate import Estimate, Stratum, rate, remainder, student95


@pytest.mark.parametrize(
    ("freedom", "point"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042), (1000, 1.962)]
)
def test_students_t_is_that_of_tables(freedom: int, point: float) -> None:
    assert student95(freedom) == pytest.approx(point, rel=5e-3)


def test_a_remainder_of_equal_values_is_certain() -> None:
    assert remainder([Stratum([5.0, 5.0, 5.0], 10)]) == Estimate(50.0, 50.0, 50.0)
    assert remainder([Stratum([5.0, 6.0], 0)]) == Estimate(0.0, 0.0, 0.0)
    assert remainder([Stratum([5.0], 3)]) is None


def test_domains_are_told_apart() -> None:
    """Short answers were seen of one domain, long ones of another, and most of what is left is of the second."""
    found = remainder([Stratum([10.0, 12.0] * 10, 5), Stratum([100.0, 102.0] * 10, 500)])
    assert found is not None
    assert found.value == pytest.approx(5 * 11 + 500 * 101)
    assert found.high - found.low < 0.03 * found.value


def test_a_domain_that_was_not_seen_takes_the_mean_of_those_that_were() -> None:
    found = remainder([Stratum([10.0, 20.0], 0), Stratum([30.0, 40.0], 0), Stratum([], 100)])
    assert found is not None
    assert found.value == pytest.approx(2500)


def test_the_interval_of_a_remainder_covers_it_19_times_of_20() -> None:
    """Lengths are lognormal, as those of answers are; a tenth of two domains is known."""
    rng, inside, trials = random.Random(1), 0, 400
    for _ in range(trials):
        easy = [rng.lognormvariate(4, 0.5) for _ in range(300)]
        hard = [rng.lognormvariate(6, 0.6) for _ in range(200)]
        found = remainder([Stratum(easy[:30], 270), Stratum(hard[:20], 180)])
        assert found is not None
        inside += found.low <= sum(easy[30:]) + sum(hard[20:]) <= found.high
    assert 0.90 < inside / trials < 0.985


def test_the_interval_of_a_rate_covers_it_19_times_of_20() -> None:
    rng, inside, trials = random.Random(2), 0, 400
    for _ in range(trials):
        windows = [(x := rng.uniform(0.5, 1.5), rng.gauss(100, 20) * x) for _ in range(20)]
        found = rate(windows)
        assert found is not None
        inside += found.low <= 100 <= found.high
    assert 0.91 < inside / trials < 0.985


def test_a_rate_needs_two_windows_and_something_to_happen() -> None:
    assert rate([(1.0, 5.0)]) is None
    assert rate([(1.0, 0.0), (1.0, 0.0)]) is None
    steady = rate([(1.0, 5.0), (2.0, 10.0), (4.0, 20.0)])
    assert steady == Estimate(5.0, 5.0, 5.0)


def test_a_quotient_is_as_uncertain_as_both_its_parts() -> None:
    rng = random.Random(3)
    found = Estimate.around(1000, 60).over(Estimate.around(10, 0.8))
    drawn = sorted(rng.gauss(1000, 60 / 1.96) / rng.gauss(10, 0.8 / 1.96) for _ in range(20_000))
    assert found.value == pytest.approx(fmean(drawn), rel=0.01)
    assert (found.low, found.high) == pytest.approx((drawn[500], drawn[-500]), rel=0.02)
