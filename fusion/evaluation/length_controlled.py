"""AlpacaEval 2's length-controlled win rate (Dubois et al. 2024, arXiv 2404.04475).

A regression explains the judge's preference for model m over baseline b on instruction x (section 3, equation 1):

    logit p(m beats b | x) = theta + phi * tanh((len_b(x) - len_m(x)) / sd) + psi * gamma(x)

theta: how much better m is; gamma(x): difficulty of the instruction, the same for all models; sd: standard deviation of
the difference of lengths. The length-controlled rate is the mean over x of that with the length term set to zero:

    100 * mean_x logistic(theta + psi * gamma(x))

phi and psi are held towards the baseline's own by rows of two variants of the baseline, a verbose and a concise one,
for which theta is 0, with a weight of 0.2 / 2 a row.

As in the published program (alpaca_eval, metrics/glm_winrate.py, `length_controlled_v1`): one fit a model, whose theta,
phi and psi are its own; no other intercept; lengths are characters, sd is the sample's (N - 1) over the model's
instructions; preferences are fitted as shares. Where ours differs:

1. Difficulty. Theirs is a column of a hub file (df_gamed.csv), by the instruction's place in the set. Ours is read
   where `control.difficulty` names such a file, else estimated from the preferences of many models: the standardised
   mean over models of their centred logits (clipped to [0.01, 0.99]); with neither, psi is left out.
2. Variants. Theirs are the rows of that file: two answers to each instruction, each with its own preference and length.
   Ours enter by what the leaderboard says of them (win rates 64.3 and 22.9), each with one tanh, -0.6 and +0.6. That
   number is fitted: of 0.6, 0.7, 0.8 the one whose ten rates come closest to the leaderboard's (mean absolute
   difference 0.42, 0.61, 0.83 points; without such rows 2.1).
3. Penalty. Theirs is L1 (liblinear) on all three, its strength 1 / C, C of ten values from 1e-4 to 1e4, the one with
   the least weighted log loss in five folds of the rows. Ours is a ridge, 1e-3 / 2 |b|^2, next to nothing at
   hundreds of instructions. On our rows of ten models of the leaderboard theirs (scikit-learn) draws the rate towards
   0.5 by 0.08 points in the mean, and by 0.11 at most.
4. Instructions. Theirs without a preference are left out of the fit, but count in sd and in the mean over x. Ours that
   could not be judged count as lost; those without a baseline's answer, or that a file of difficulties lacks, are left
   out.
5. The baseline against itself is 0.5 there by definition; here it is fitted like any model.
6. Theirs has no interval; ours resamples instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fusion.evaluation.intervals import Interval, seed_of
from fusion.evaluation.logistic import Array, fit, logistic

RESAMPLES = 100
"""Each is a fit."""
CLIP = 0.01


@dataclass(kw_only=True)
class Variant:
    """The baseline, told to write longer or shorter answers."""

    tanh: float
    """Mean of tanh((len_b - len_variant) / sd)."""
    win_rate: float
    """Its win rate over the baseline, in [0, 1]."""


@dataclass(kw_only=True)
class LengthControl:
    """Settings of the regression."""

    variants: list[Variant] = field(
        default_factory=lambda: [Variant(tanh=-0.6, win_rate=0.6430), Variant(tanh=0.6, win_rate=0.2292)]
    )
    """See the module; none: phi and psi are free."""
    weight: float = 0.2
    """Of all variants together, relative to the model's rows (the published program's value)."""


def length_controlled(
    preferences_N: Array,
    lengths_N: Array,
    baseline_lengths_N: Array,
    difficulty_N: Array | None,
    control: LengthControl,
) -> Interval:
    """The rate in [0, 1] with a bootstrap interval over instructions.

    Args:
        preferences_N: the judge's probability that the model's answer is better.
        lengths_N: characters of the model's answers.
        baseline_lengths_N: the same of the baseline.
        difficulty_N: gamma; None: not known, and left out.
    """
    features_NF = _features(lengths_N, baseline_lengths_N, difficulty_N)
    draws_R = [_rate(features_NF[d], preferences_N[d], control) for d in _draws(preferences_N, lengths_N)]
    return _interval(_rate(features_NF, preferences_N, control), draws_R)


def length_controlled_gap(
    preferences_2N: Array,
    lengths_2N: Array,
    baseline_lengths_N: Array,
    difficulty_N: Array | None,
    control: LengthControl,
) -> Interval:
    """Difference of two models' rates on the same N instructions, which are drawn for both alike; see above."""
    features = [_features(lengths_N, baseline_lengths_N, difficulty_N) for lengths_N in lengths_2N]

    def gap(rows: npt.NDArray[np.int64] | slice) -> float:
        ours, theirs = (_rate(f[rows], p[rows], control) for f, p in zip(features, preferences_2N, strict=True))
        return ours - theirs

    return _interval(gap(slice(None)), [gap(draw) for draw in _draws(*preferences_2N, *lengths_2N)])


def _features(lengths_N: Array, baseline_lengths_N: Array, difficulty_N: Array | None) -> Array:
    """[N, F]: a column of ones, the term of lengths, and the difficulty where it is known."""
    gaps_N = baseline_lengths_N - lengths_N
    deviation = float(gaps_N.std(ddof=1)) if len(gaps_N) > 1 else 0.0
    lengths_term_N = np.tanh(gaps_N / deviation) if deviation > 0 else np.zeros(len(gaps_N))
    columns = [np.ones(len(gaps_N)), lengths_term_N]
    return np.stack([*columns, difficulty_N] if difficulty_N is not None else columns, axis=1)


def _draws(*arrays_N: Array) -> list[npt.NDArray[np.int64]]:
    """Resamples of N instructions."""
    rng, size = np.random.default_rng(seed_of(arrays_N)), len(arrays_N[0])
    return [rng.integers(0, size, size) for _ in range(RESAMPLES)]


def _interval(value: float, draws_R: Sequence[float]) -> Interval:
    low, high = (float(bound) for bound in np.quantile(draws_R, [0.025, 0.975]))
    return Interval(value, min(low, value), max(high, value))


def difficulty(preferences_NM: Array) -> Array:
    """gamma of N instructions from the preferences of M models over the same baseline; higher: models win more.

    Mean 0, standard deviation 1. Preferences that are not known are NaN.
    """
    clipped_NM = np.clip(preferences_NM, CLIP, 1 - CLIP)
    logits_NM = np.log(clipped_NM / (1 - clipped_NM))
    means_N = np.nanmean(logits_NM - np.nanmean(logits_NM, axis=0), axis=1)
    return np.asarray((means_N - means_N.mean()) / means_N.std())


def _rate(features_NF: Array, preferences_N: Array, control: LengthControl) -> float:
    features, targets, weights = [features_NF], [preferences_N], [np.ones(len(preferences_N))]
    for variant in control.variants:
        rows_NF = features_NF.copy()
        rows_NF[:, 0], rows_NF[:, 1] = 0.0, variant.tanh
        features.append(rows_NF)
        targets.append(np.full(len(rows_NF), variant.win_rate))
        weights.append(np.full(len(rows_NF), control.weight / len(control.variants)))
    coefficients_F = fit(np.concatenate(features), np.concatenate(targets), np.concatenate(weights))
    same_length_NF = features_NF.copy()
    same_length_NF[:, 1] = 0.0
    return float(logistic(same_length_NF @ coefficients_F).mean())
