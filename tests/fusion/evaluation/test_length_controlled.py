"""AlpacaEval's regression on simulated judges: a pure effect of length goes, and what is no such effect stays."""

from __future__ import annotations

import numpy as np
import pytest

from fusion.evaluation.length_controlled import LengthControl, Variant, length_controlled
from fusion.evaluation.logistic import Array, logistic

PHI = -1.5
"""A judge that likes long answers."""
PSI = 0.7
VARIANTS = [Variant(tanh=tanh, win_rate=float(logistic(np.array(PHI * tanh)))) for tanh in (-0.6, 0.6)]
"""What such a judge says of longer and shorter answers of the baseline itself."""


class Simulated:
    """600 instructions, and a model that writes more than the baseline does."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.baseline_N = rng.uniform(500, 1500, 600)
        self.lengths_N = rng.uniform(500, 3000, 600)
        self.difficulty_N = rng.normal(size=600)
        gaps_N = self.baseline_N - self.lengths_N
        self.term_N = np.tanh(gaps_N / gaps_N.std(ddof=1))

    def rate(self, preferences_N: Array, control: LengthControl, scale: float = 1.0) -> float:
        lengths_N, baseline_N = scale * self.lengths_N, scale * self.baseline_N
        return length_controlled(preferences_N, lengths_N, baseline_N, self.difficulty_N, control).value


@pytest.fixture(scope="module")
def simulated() -> Simulated:
    return Simulated()


@pytest.mark.parametrize("variants", [[], VARIANTS], ids=["free", "held by variants"])
@pytest.mark.parametrize("theta", [0.0, 0.8])
def test_a_pure_effect_of_length_is_removed_and_nothing_else(
    theta: float, variants: list[Variant], simulated: Simulated
) -> None:
    """What is left is the mean of logistic(theta + psi gamma): the model's strength on easy and hard instructions."""
    preferences_N = logistic(theta + PHI * simulated.term_N + PSI * simulated.difficulty_N)
    expected = float(logistic(theta + PSI * simulated.difficulty_N).mean())
    assert preferences_N.mean() > expected + 0.1
    found = simulated.rate(preferences_N, LengthControl(variants=variants))
    assert found == pytest.approx(expected, abs=0.005 if variants else 0.001)


@pytest.mark.parametrize("theta", [-0.9, 0.4])
def test_without_an_effect_of_length_it_is_the_win_rate(theta: float, simulated: Simulated) -> None:
    preferences_N = logistic(theta + PSI * simulated.difficulty_N)
    found = simulated.rate(preferences_N, LengthControl(variants=[]))
    assert found == pytest.approx(float(preferences_N.mean()), abs=1e-4)


def test_verdicts_that_are_drawn_leave_as_much(simulated: Simulated) -> None:
    """Wins and losses instead of probabilities: 0.5 within three standard errors of 600."""
    rng = np.random.default_rng(8)
    shares_N = logistic(PHI * simulated.term_N)
    wins_N = (rng.random(600) < shares_N).astype(np.float64)
    assert wins_N.mean() > 0.6
    assert simulated.rate(wins_N, LengthControl(variants=VARIANTS)) == pytest.approx(0.5, abs=0.075)


def test_variants_hold_a_model_to_the_effect_that_length_has_on_the_baseline(simulated: Simulated) -> None:
    """A judge that likes the baseline's short variant: less of what a model wins is put down to its length."""
    preferences_N = np.where(simulated.term_N < -0.5, 0.9, 0.6)
    free = simulated.rate(preferences_N, LengthControl(variants=[]))
    opposite = [Variant(tanh=-0.6, win_rate=0.2), Variant(tanh=0.6, win_rate=0.8)]
    held = [simulated.rate(preferences_N, LengthControl(variants=opposite, weight=w)) for w in (0.2, 2.0)]
    assert free < held[0] < held[1]


def test_lengths_have_no_unit(simulated: Simulated) -> None:
    preferences_N = logistic(PHI * simulated.term_N)
    free = LengthControl(variants=[])
    assert simulated.rate(preferences_N, free, scale=4.0) == pytest.approx(simulated.rate(preferences_N, free))
