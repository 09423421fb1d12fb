"""Arena-Hard's fit to games of which a pair is several: closed forms, and the same as one row a game."""

from __future__ import annotations

import numpy as np
import pytest

from fusion.evaluation.bradley_terry import Battle, rate_gaps, win_rates
from fusion.evaluation.style import Style

PLAIN = Style(400, 100, 0, 0, 0)


def styled(rng: np.random.Generator) -> Style:
    words = int(rng.integers(50, 400))
    return Style(5 * words, words, *(int(count) for count in rng.integers(0, 9, 3)))


def drawn(model: str, strength: float, num: int, seed: int) -> list[Battle]:
    """Two orders of each pair, each one game or three."""
    rng = np.random.default_rng(seed)
    battles = []
    for i in range(num):
        ours, theirs = styled(rng), styled(rng)
        wins, games = (rng.random(2) < strength).astype(float), rng.choice([1.0, 3.0], 2)
        outcome = float((wins * games).sum() / games.sum())
        battles.append(Battle(model, str(i), outcome, ours, theirs, float(games.mean())))
    return battles


def test_a_strong_win_is_three_games() -> None:
    """3 games won, 1 lost, half of one: 3.5 of 5."""
    games = [(1.0, 3.0), (0.0, 1.0), (0.5, 1.0)]
    battles = [Battle("m", str(i), outcome, PLAIN, PLAIN, weight) for i, (outcome, weight) in enumerate(games)]
    assert win_rates(battles, is_controlled=False)["m"].value == pytest.approx(3.5 / 5, abs=1e-3)


def test_weights_are_the_same_as_so_many_games() -> None:
    """Style controlled: the strengths, the effects of style and the scale of features all count games."""
    battles = [*drawn("strong", 0.8, 60, 1), *drawn("weak", 0.3, 60, 2)]
    one_by_one = []
    for battle in battles:
        games = round(2 * battle.weight)
        won = battle.outcome * games
        rows = [1.0] * round(won) + [0.0] * round(games - won)
        one_by_one += [Battle(battle.model, battle.item, row, battle.ours, battle.theirs, 0.5) for row in rows]
    found, expected = win_rates(battles), win_rates(one_by_one)
    assert {model: rate.value for model, rate in found.items()} == {
        model: pytest.approx(rate.value, abs=1e-7) for model, rate in expected.items()
    }
    plain = win_rates(battles, is_controlled=False)
    won = sum(b.weight * b.outcome for b in battles if b.model == "strong")
    assert plain["strong"].value == pytest.approx(won / sum(b.weight for b in battles if b.model == "strong"), abs=1e-4)
    assert abs(plain["strong"].value - found["strong"].value) > 1e-3  # style has an effect in this draw


@pytest.mark.parametrize("is_controlled", [True, False])
def test_differences_are_those_of_the_rates(is_controlled: bool) -> None:
    battles = [*drawn("strong", 0.8, 60, 1), *drawn("weak", 0.3, 60, 2)]
    rates = win_rates(battles, is_controlled=is_controlled)
    (gap,) = rate_gaps(battles, [("strong", "weak")], is_controlled=is_controlled).values()
    assert gap.value == pytest.approx(rates["strong"].value - rates["weak"].value)
    assert gap.low > 0.2


def test_a_style_that_never_varies_is_no_effect() -> None:
    """Its mean over weighted games is rounded: taken for a feature, it would be a second column of ones."""
    longer = Style(700, 170, 3, 1, 2)
    games = [(1.0, 3.0), (0.0, 1.0), (0.5, 1.0), (1.0, 1.5), (0.0, 2.0)] * 7
    battles = [Battle("m", str(i), outcome, longer, PLAIN, weight) for i, (outcome, weight) in enumerate(games)]
    plain, controlled = win_rates(battles, is_controlled=False)["m"], win_rates(battles)["m"]
    assert controlled == plain
