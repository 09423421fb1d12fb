"""Numbers with 95% intervals: the total of a finite population of which a part is known, and a rate over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

Z95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95% interval. Example: Estimate(12.3e6, 11.8e6, 12.9e6)"""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, value: float, half: float) -> Estimate:
        """Of something that is not negative."""
        return cls(value, max(0.0, value - half), value + half)

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def plus(self, known: float) -> Estimate:
        return Estimate(self.value + known, self.low + known, self.high + known)

    def over(self, other: Estimate) -> Estimate:
        """The quotient of two independent numbers, by the delta method; `other` is above 0."""
        value = self.value / other.value
        return Estimate.around(value, value * math.hypot(self._relative, other._relative))

    @property
    def _relative(self) -> float:
        return (self.high - self.value) / self.value if self.value else 0.0


def total(parts: Sequence[Estimate]) -> Estimate:
    """The sum of independent numbers."""
    value = sum(one.value for one in parts)
    return Estimate.around(value, math.hypot(*(one.high - one.value for one in parts)))


@dataclass(frozen=True, slots=True)
class Stratum:
    """A part of a population: some of its values are known, `left` are not."""

    known: Sequence[float]
    left: int


def remainder(strata: Sequence[Stratum]) -> Estimate | None:
    """The sum of all values that are not known, or None where too little is.

    Each stratum's by its own mean and variance, where the variance is of a prediction: of the mean, and of the values
    that are still to come, left**2 * s**2 / known + left * s**2. A stratum of which less than two values are known
    takes mean and variance of all strata together.
    """
    everything = [value for stratum in strata for value in stratum.known]
    if len(everything) < 2:
        return None
    value = spread = 0.0
    for stratum in strata:
        known = stratum.known if len(stratum.known) > 1 else everything
        value += stratum.left * fmean(known)
        spread += variance(known) * (stratum.left**2 / len(known) + stratum.left)
    freedom = max(1, len(everything) - sum(len(stratum.known) > 1 for stratum in strata))
    return Estimate.around(value, student95(freedom) * math.sqrt(spread))


def rate(windows: Sequence[tuple[float, float]]) -> Estimate | None:
    """Sum of y over sum of x of windows (x, y), with the interval of a ratio of means; None for less than two windows,
    or where nothing happened."""
    total_x, total_y = sum(x for x, _ in windows), sum(y for _, y in windows)
    if len(windows) < 2 or total_x <= 0 or total_y <= 0:
        return None
    value, number = total_y / total_x, len(windows)
    rest = sum((y - value * x) ** 2 for x, y in windows)
    half = student95(number - 1) * math.sqrt(rest * number / (number - 1)) / total_x
    return Estimate.around(value, half)


def student95(freedom: int) -> float:
    """The 97.5% point of Student's t: exact for one and two degrees of freedom, else Cornish and Fisher's series, whose
    error is below 0.5% from three on."""
    if freedom == 1:
        return math.tan(math.pi * 0.475)
    if freedom == 2:
        return 0.95 * math.sqrt(2 / (1 - 0.95**2))
    z, n = Z95, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / n ** (i + 1) for i, term in enumerate(terms))
