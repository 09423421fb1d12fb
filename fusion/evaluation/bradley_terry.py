"""Arena-Hard's win rates: Bradley-Terry against one baseline, with the style of the answers taken out.

    logit p(m beats b on x) = theta_m + sum_k beta_k z_k(x),   theta_b = 0

(Li et al. 2024, arXiv 2406.11939; style control: LMSYS, "Does style matter?", 2024). theta: strength of a model; z_k:
difference of the k-th feature of style of the two answers, standardised over all battles. Features, as the published
program has them (arena-hard-auto, show_result.py):

    length  (len_m - len_b) / (len_m + len_b)
    headers, list items, bold texts:  (d_m - d_b) / (d_m + d_b + 1)  with d the number of them a word

All models of a table are fitted together, so that a style's effect is not one model's own strength. The rate is
logistic(theta_m): against the baseline, in the same style.

Deviations: lengths are in words instead of one tokenizer's tokens. A verdict counts once; the published program counts
"much better" three times, which needs a judge with five verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion.evaluation.intervals import Interval, seed_of
from fusion.evaluation.logistic import Array, fit, logistic
from fusion.evaluation.style import Style

RESAMPLES = 200


@dataclass(frozen=True, slots=True)
class Battle:
    """One answer against the baseline's. Example: Battle("m", "prompt1", 1.0, style(ours), style(theirs))"""

    model: str
    item: str
    outcome: float
    """1: the model wins, 0: the baseline, 0.5: neither; with probabilities, anything between."""
    ours: Style
    theirs: Style


def win_rates(battles: Sequence[Battle], *, is_controlled: bool = True) -> dict[str, Interval]:
    """Model -> rate in [0, 1] against the baseline, with a bootstrap interval over each model's items.

    Args:
        is_controlled: whether style is taken out; without it the rate is the mean outcome.
    """
    models = sorted({battle.model for battle in battles})
    features_NF = _features(battles, models, is_controlled)
    outcomes_N = np.array([battle.outcome for battle in battles])
    values_M = _rates(features_NF, outcomes_N, len(models))
    rng = np.random.default_rng(seed_of([outcomes_N, features_NF.ravel()]))
    rows = [np.flatnonzero(features_NF[:, m] == 1.0) for m in range(len(models))]
    draws_RM = []
    for _ in range(RESAMPLES):
        draw = np.concatenate([rng.choice(own, len(own)) for own in rows])
        draws_RM.append(_rates(features_NF[draw], outcomes_N[draw], len(models)))
    bounds_2M = np.quantile(np.stack(draws_RM), [0.025, 0.975], axis=0)
    found = {}
    for m, model in enumerate(models):
        value, low, high = float(values_M[m]), *(float(bound) for bound in bounds_2M[:, m])
        found[model] = Interval(value, min(low, value), max(high, value))
    return found


def rate_gaps(battles: Sequence[Battle], pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Interval]:
    """(model, against) -> difference of their `win_rates`; an item is drawn with the battles of all models on it."""
    models = sorted({battle.model for battle in battles})
    features_NF = _features(battles, models, is_controlled=True)
    outcomes_N = np.array([battle.outcome for battle in battles])
    of_item: dict[str, list[int]] = {}
    for number, battle in enumerate(battles):
        of_item.setdefault(battle.item, []).append(number)
    rows = [np.array(numbers) for numbers in of_item.values()]
    rng = np.random.default_rng(seed_of([outcomes_N, features_NF.ravel()]))
    draws_RM = []
    for _ in range(RESAMPLES):
        draw = np.concatenate([rows[item] for item in rng.integers(0, len(rows), len(rows))])
        draws_RM.append(_rates(features_NF[draw], outcomes_N[draw], len(models)))
    drawn_RM, values_M = np.stack(draws_RM), _rates(features_NF, outcomes_N, len(models))
    gaps = {}
    for one, other in pairs:
        m, a = models.index(one), models.index(other)
        value = float(values_M[m] - values_M[a])
        low, high = (float(bound) for bound in np.quantile(drawn_RM[:, m] - drawn_RM[:, a], [0.025, 0.975]))
        gaps[one, other] = Interval(value, min(low, value), max(high, value))
    return gaps


def _rates(features_NF: Array, outcomes_N: Array, num_models: int) -> Array:
    return logistic(fit(features_NF, outcomes_N)[:num_models])


def _features(battles: Sequence[Battle], models: Sequence[str], is_controlled: bool) -> Array:
    """One column of ones a model, then the standardised style features [N, M + 4]."""
    own_NM = np.array([[float(battle.model == model) for model in models] for battle in battles])
    if not is_controlled:
        return own_NM
    style_N4 = np.array([_difference(battle.ours, battle.theirs) for battle in battles])
    deviation_4 = style_N4.std(axis=0)
    varied = deviation_4 > 0
    return np.concatenate(
        [own_NM, (style_N4[:, varied] - style_N4[:, varied].mean(axis=0)) / deviation_4[varied]], axis=1
    )


def _difference(ours: Style, theirs: Style) -> list[float]:
    length = (ours.words - theirs.words) / max(1, ours.words + theirs.words)
    pairs = zip(ours.densities, theirs.densities, strict=True)
    return [length, *((mine - other) / (mine + other + 1) for mine, other in pairs)]
