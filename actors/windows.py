"""Sums over time, for gauges: a rate of late, a share of time, an amount held. All times in seconds of one clock."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0


class Window:
    """A rate over the last minute. Example: 600 tokens in a minute: 10 a second."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._seen: deque[tuple[float, float]] = deque()

    def add(self, now: float, amount: float) -> None:
        self._seen.append((now, amount))

    def rate(self, now: float) -> float:
        while self._seen and self._seen[0][0] <= now - WINDOW_S:
            self._seen.popleft()
        return sum(amount for _, amount in self._seen) / max(min(now - self._began, WINDOW_S), 1.0)


class IdleTime:
    """The share of time in which those that were there had nothing to do, from samples: what was seen at a sample held
    until the next."""

    def __init__(self) -> None:
        self._idle = self._all = 0.0
        self._seen: tuple[float, int, int] | None = None

    def sample(self, now: float, num_idle: int, num_there: int) -> None:
        if self._seen is not None:
            at, idle, there = self._seen
            self._idle += (now - at) * idle
            self._all += (now - at) * there
        self._seen = (now, num_idle, num_there)

    @property
    def share(self) -> float:
        """In [0, 1]; 0 while none was there."""
        return self._idle / self._all if self._all else 0.0


class BusyTime:
    """The share of time in which sessions of a stream had nothing to do, from how long each unit of work took them."""

    def __init__(self, num_sessions: int) -> None:
        self._num_sessions = num_sessions
        self._busy = 0.0
        self._began: float | None = None

    def add(self, now: float, seconds: float) -> None:
        """A unit of work came back that took so long. The first one tells when sessions were open at the latest."""
        if self._began is None:
            self._began = now - seconds
        self._busy += seconds

    def idle_share(self, now: float) -> float:
        """In [0, 1]; 0 before anything came back."""
        if self._began is None or now <= self._began:
            return 0.0
        return min(max(1.0 - self._busy / (self._num_sessions * (now - self._began)), 0.0), 1.0)
