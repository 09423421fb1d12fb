"""Carrying a margin window from the reward that it was published for to another one.

FuseChat-3.0 keeps a pair when its margin, best minus worst answer of one source under ArmoRM, lies in [0.01, 0.10]. On
another reward's scale these numbers mean nothing. What can be carried is which share of the margins lies below each
bound: the window between the same quantiles of the other reward's margins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion.errors import ConfigError
from fusion.evaluation.intervals import Interval, wilson

PUBLISHED = (0.01, 0.10)
"""FuseChat-3.0, section 3.3, on ArmoRM's scale."""
FEW = 200
"""Margins below which a quantile is known to no better than about 0.07 either way."""


@dataclass(frozen=True, slots=True)
class QuantileWindow:
    """A window as quantiles of positive margins. `low` and `high` hold a 95% interval each."""

    low: Interval
    high: Interval
    num_margins: int

    def overrides(self, rule: str = "selection") -> str:
        """What to type: `selection.window.low=0.32 selection.window.high=1 selection.window.scale=QUANTILE`.

        Args:
            rule: dotted key of the rule: `selection.rules.math`.
        """
        low, high = f"{self.low.value:.6g}", f"{self.high.value:.6g}"
        return f"{rule}.window.low={low} {rule}.window.high={high} {rule}.window.scale=QUANTILE"

    def bounds(self, margins: Sequence[float]) -> tuple[float, float]:
        """The window on another reward's own scale: these quantiles of its positive margins.

        Raises:
            ConfigError: none of them is positive.
        """
        positive = _positive(margins)
        low, high = np.quantile(positive, [self.low.value, self.high.value])
        return float(low), float(high)

    def words(self) -> str:
        """The window with its uncertainty, and how much it is worth."""
        low, high = (f"{q.value:.2f} [{q.low:.2f}, {q.high:.2f}]" for q in (self.low, self.high))
        worth = "; too few to rely on: score more prompts" if self.num_margins < FEW else ""
        return f"quantiles {low} to {high} of {self.num_margins} margins{worth}"


def quantile_window(margins: Sequence[float], published: tuple[float, float] = PUBLISHED) -> QuantileWindow:
    """Which quantiles of a reward's positive margins the published bounds are.

    It is the inverse of what `selection.window.scale=QUANTILE` does (linear between margins), so that the quantiles
    applied to the same margins give the published window back; a bound outside the margins becomes 0 or 1. The
    intervals are Wilson's, of the share of margins below the bound.

    Args:
        margins: of the pairs that a rule has to choose from (`fusion.selection.pairs.candidate_pairs`), on the scale on
            which `published` is meant; margins that are not positive make no pair and do not count.

    Raises:
        ConfigError: the bounds are out of order, or no margin is positive.
    """
    low, high = published
    if not 0 <= low < high:
        raise ConfigError(f"the published window is [{low:g}, {high:g}]; it must have 0 <= low < high")
    positive = _positive(margins)
    return QuantileWindow(_quantile(positive, low), _quantile(positive, high), len(positive))


def _positive(margins: Sequence[float]) -> npt.NDArray[np.float64]:
    array = np.sort(np.asarray(margins, np.float64))
    positive = array[array > 0]
    if not positive.size:
        raise ConfigError(f"none of {len(array)} margins is positive; score several answers of one source a prompt")
    return positive


def _quantile(positive: npt.NDArray[np.float64], bound: float) -> Interval:
    places = np.linspace(0.0, 1.0, positive.size) if positive.size > 1 else np.array([0.5])
    at = float(np.interp(bound, positive, places, left=0.0, right=1.0))
    around = wilson(float((positive < bound).mean()), positive.size)
    return Interval(at, min(at, around.low), max(at, around.high))
