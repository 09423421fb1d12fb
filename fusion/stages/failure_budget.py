"""How many rows of a step may fail: a cause that hits many is to be mended, and does not end as a small data set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fusion.errors import ConfigError, StepFailed

EARLY_FAULTS = 50
"""Faults from which a step stops before its end, if their share is too large."""


@dataclass
class FailureBudget:
    """Example: FailureBudget("source qwen failed on {} answers", "store/responses/qwen-0f3c", 0.05)"""

    what: str
    """What failed, with a place for `3 of 10`."""
    path: str
    """The artifact; its drops say why."""
    max_failed_frac: float
    tried: int = 0
    failed: int = 0

    def count(self, tried: int, failed: int) -> None:
        """Raises:
        StepFailed: many rows failed already.
        """
        self.tried += tried
        self.failed += failed
        if failed and self.failed >= EARLY_FAULTS:
            self.check()

    def check(self) -> None:
        """Raises:
        StepFailed: too large a share of the rows failed.
        """
        if self.failed > self.max_failed_frac * self.tried:
            share, enough = f"{self.failed} of {self.tried}", math.ceil(self.failed / self.tried * 100) / 100
            raise StepFailed(
                f"{self.what.format(share)}, more than max_failed_frac={self.max_failed_frac:g}; {self.path}/drops "
                f"says why. The others are kept: mend the cause and run the same command again, which tries only those "
                f"that failed; or type max_failed_frac={enough:g} to do without them"
            )


def demand_frac(max_failed_frac: float) -> None:
    """Raises:
    ConfigError: it is no share.
    """
    if not 0 <= max_failed_frac <= 1:
        raise ConfigError(f"max_failed_frac must be in [0, 1], got {max_failed_frac}")
