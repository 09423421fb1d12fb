"""Arena-Hard's win rates: Bradley-Terry against one baseline, plain or with the style of the answers taken out.

    logit p(m beats b on x) = theta_m [+ sum_k beta_k z_k(x)],   theta_b = 0

(Li et al. 2024, arXiv 2406.11939; style control: LMSYS, "Does style matter?", 2024). theta: strength of a model; z_k:
difference of the k-th feature of style of the two answers, standardised over all games. Features, as the published
program has them (arena-hard-auto, show_result.py):

    length  (len_m - len_b) / (len_m + len_b)
    headers, list items, bold texts:  (d_m - d_b) / (d_m + d_b + 1)  with d the number of them a word

All models of a table are fitted together, so that a style's effect is not one model's own strength. The rate is
logistic(theta_m): against the baseline, in the same style. Without style it is the mean outcome of m's games.

A game is one order of one pair: 1 a win of m, 0 of b, 0.5 a tie; "much better" is a whole win three times over (the
same file: `load_judgments(weight=3)` and `label_to_score`; of v0.1 `get_battles_from_judgment(WEIGHT=3)`, whose plain
rate is the logistic of an unpenalised fit to these games). Both orders of a pair have one style, so a battle here is an
item, its outcome the mean over its games and its weight their number (of an order): the likelihood is the same.

Deviations: lengths are in words instead of one tokenizer's tokens. Items are resampled, with their games, instead of
games; the rate is that of all items instead of the median resample's. A pair that could not be judged counts as a game
lost, where the published program leaves it out. A ridge of 1e-3 / 2 |b|^2, where it has none, keeps a rate of 1 finite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion.evaluation.intervals import Interval, seed_of
from fusion.evaluation.logistic import Array, fit, logistic
from fusion.evaluation.style import Style

RESAMPLES = 200
LEAST_DEVIATION = 1e-9
"""Of a feature, all of which lie in [-1, 1]; what varies less is a constant whose mean was rounded."""


@dataclass(frozen=True, slots=True)
class Battle:
    """One answer against the baseline's. Example: Battle("m", "prompt1", 1.0, style(ours), style(theirs), 3.0)"""

    model: str
    item: str
    outcome: float
    """1: the model wins, 0: the baseline, 0.5: neither; with probabilities or over several games, anything between."""
    ours: Style
    theirs: Style
    weight: float = 1.0
    """How many games it is, of an order."""


def win_rates(battles: Sequence[Battle], *, is_controlled: bool = True) -> dict[str, Interval]:
    """Model -> rate in [0, 1] against the baseline, with a bootstrap interval over each model's items.

    Args:
        is_controlled: whether style is taken out; without it the rate is the mean outcome of all games.
    """
    games = _games(battles, is_controlled)
    rng, values_M = games.rng(), games.rates()
    rows = [np.flatnonzero(games.features_NF[:, m] == 1.0) for m in range(len(games.models))]
    draws_RM = [games.rates(np.concatenate([rng.choice(own, len(own)) for own in rows])) for _ in range(RESAMPLES)]
    bounds_2M = np.quantile(np.stack(draws_RM), [0.025, 0.975], axis=0)
    found = {}
    for m, model in enumerate(games.models):
        value, low, high = float(values_M[m]), *(float(bound) for bound in bounds_2M[:, m])
        found[model] = Interval(value, min(low, value), max(high, value))
    return found


def rate_gaps(
    battles: Sequence[Battle], pairs: Sequence[tuple[str, str]], *, is_controlled: bool = True
) -> dict[tuple[str, str], Interval]:
    """(model, against) -> difference of their `win_rates`; an item is drawn with the battles of all models on it."""
    games = _games(battles, is_controlled)
    of_item: dict[str, list[int]] = {}
    for number, battle in enumerate(battles):
        of_item.setdefault(battle.item, []).append(number)
    rows = [np.array(numbers) for numbers in of_item.values()]
    rng, values_M = games.rng(), games.rates()
    draws_RM = [
        games.rates(np.concatenate([rows[item] for item in rng.integers(0, len(rows), len(rows))]))
        for _ in range(RESAMPLES)
    ]
    drawn_RM = np.stack(draws_RM)
    gaps = {}
    for one, other in pairs:
        m, a = games.models.index(one), games.models.index(other)
        value = float(values_M[m] - values_M[a])
        low, high = (float(bound) for bound in np.quantile(drawn_RM[:, m] - drawn_RM[:, a], [0.025, 0.975]))
        gaps[one, other] = Interval(value, min(low, value), max(high, value))
    return gaps


@dataclass(frozen=True)
class _Games:
    """Battles as arrays."""

    models: list[str]
    features_NF: Array
    """One column of ones a model, then the standardised style features [N, M + 4]."""
    outcomes_N: Array
    weights_N: Array

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(seed_of([self.outcomes_N, self.features_NF.ravel()]))

    def rates(self, rows: npt.NDArray[np.int64] | slice = slice(None)) -> Array:
        """[M], from the battles `rows`."""
        found_F = fit(self.features_NF[rows], self.outcomes_N[rows], self.weights_N[rows])
        return logistic(found_F[: len(self.models)])


def _games(battles: Sequence[Battle], is_controlled: bool) -> _Games:
    models = sorted({battle.model for battle in battles})
    columns_NF = np.array([[float(battle.model == model) for model in models] for battle in battles])
    weights_N = np.array([battle.weight for battle in battles])
    if is_controlled:
        columns_NF = np.concatenate([columns_NF, _styles(battles, weights_N)], axis=1)
    return _Games(models, columns_NF, np.array([battle.outcome for battle in battles]), weights_N)


def _styles(battles: Sequence[Battle], weights_N: Array) -> Array:
    """Differences of style, standardised over games; one that never varies is left out."""
    style_N4 = np.array([_difference(battle.ours, battle.theirs) for battle in battles])
    centred_N4 = style_N4 - np.average(style_N4, axis=0, weights=weights_N)
    deviation_4 = np.sqrt(np.average(centred_N4**2, axis=0, weights=weights_N))
    varied = deviation_4 > LEAST_DEVIATION
    return np.asarray(centred_N4[:, varied] / deviation_4[varied])


def _difference(ours: Style, theirs: Style) -> list[float]:
    length = (ours.words - theirs.words) / max(1, ours.words + theirs.words)
    pairs = zip(ours.densities, theirs.densities, strict=True)
    return [length, *((mine - other) / (mine + other + 1) for mine, other in pairs)]
