"""How fast something goes on, told from reports that come in bursts."""

from __future__ import annotations


class Pace:
    """Counts from the first growth on: before it a model was loaded, and rows of an earlier run were taken over.

    Example: 100 rows of an earlier run, then 116 at 60 s and 148 at 70 s: 3.2 a second.
    """

    def __init__(self) -> None:
        self.moved: float | None = None
        """When the count last grew."""
        self.rate: float | None = None
        """A second; None before it grew twice."""
        self._first: tuple[float, int] | None = None
        self._last = -1

    def note(self, now: float, done: int) -> None:
        """There are `done` at `now` (seconds)."""
        known, self._last = self._last, max(self._last, done)
        if done <= known or known < 0:
            return  # nothing new, or what was there at the beginning
        self.moved = now
        if self._first is None:
            self._first = (now, done)
        elif now > self._first[0]:
            self.rate = (done - self._first[1]) / (now - self._first[0])


def seconds_left(rate: float | None, done: int, total: int, since_moved: float) -> float | None:
    """Forecast; None if it is not known. `since_moved`: seconds since `done` was counted."""
    if not rate or total <= done:
        return None
    return max((total - done) / rate - since_moved, 0.0)
