"""Tokens over time, in so few windows that a long run's fit into a small file."""

from __future__ import annotations

from fusion.costs.account import Window

MOST = 64
LEAST_S = 0.2
"""A window is at least so long."""


class PaceMeter:
    """Windows of one job, from the moment its first tokens are committed to the one when its last are.

    What came before (loading, the first answers in work) says nothing of how fast the rest goes, nor does what came
    after (a run that ends, a writer that waits).
    """

    def __init__(self) -> None:
        self._windows: list[Window] = []
        self._tokens = 0
        self._rest = (0.0, 0.0)  # a window that is not yet as long as the others
        self._least = LEAST_S

    @property
    def windows(self) -> list[Window]:
        last = max((number for number, (_, tokens) in enumerate(self._windows, 1) if tokens), default=0)
        return self._windows[:last]

    def add(self, seconds: float, tokens: int) -> None:
        """`seconds` went by, and `tokens` are committed in all."""
        if not self._tokens:
            self._tokens = tokens
            return
        self._rest = (self._rest[0] + seconds, self._rest[1] + tokens - self._tokens)
        self._tokens = tokens
        if self._rest[0] >= self._least:
            self._windows.append(self._rest)
            self._rest = (0.0, 0.0)
        if len(self._windows) >= MOST:
            pairs = zip(self._windows[::2], self._windows[1::2], strict=True)
            self._windows = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
            self._least = min(seconds for seconds, _ in self._windows)
