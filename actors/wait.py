"""Waiting for nodes, never silent: what is waited for, why, for how long, and when it is given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from actors.supply import SHOWN, Bundle, Supply, look, why, words
from fusion.errors import EngineError

FIRST_S = 10.0
LONGEST_S = 300.0

log = logging.getLogger(__name__)


class Wait:
    """What one step waits for: so many workers, each wanting the same.

    Args:
        name: the step.
        asked: what each worker wants, a bundle a node.
        limit_s: `RayConfig.resource_wait_s`.
        notice: gets the lines.
    """

    def __init__(
        self,
        name: str,
        asked: Sequence[Bundle],
        limit_s: float,
        notice: Callable[[str], None],
        supply: Callable[[], Supply] = look,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._asked = asked[0]
        self._words = f"{len(asked)} x {words(asked[0])}" if len(asked) > 1 else words(asked[0])
        self._limit_s = limit_s
        self._notice = notice
        self._supply = supply
        self._clock = clock
        self._since: float | None = None
        self._speaks_at = FIRST_S

    def update(self, missing: int, wanted: int) -> None:
        """`missing` of `wanted` workers have no place now. To be called every second or so.

        Raises:
            EngineError: none of them had one for `limit_s`. While some work, the others may wait for as long.
        """
        if not missing:
            self._end()
            return
        now = self._clock()
        self._since = now if self._since is None else self._since
        waited = now - self._since
        if missing == wanted and waited > self._limit_s:
            raise EngineError(
                f"{self._name}: no node gave {self._words} within {self._limit_s:.0f} s; {self._account()}. "
                "Lower what the step asks for (cluster.pools), free some, or raise cluster.ray.resource_wait_s"
            )
        if waited >= self._speaks_at:
            self._speaks_at = waited + min(self._speaks_at, LONGEST_S)
            self._notice(self._line(missing, wanted, waited))

    def _line(self, missing: int, wanted: int, waited: float) -> str:
        each = f"each wants {self._words}" if wanted > 1 else f"it wants {self._words}"
        end = f"up to {self._limit_s:.0f} s (cluster.ray.resource_wait_s)"
        if missing < wanted:
            end = "the others work"
        return (
            f"{self._name}: {missing} of {wanted} workers wait for a node since {waited:.0f} s, {end}; {each}; "
            f"{self._account()}"
        )

    def _account(self) -> str:
        try:
            supply = self._supply()
        except Exception as error:  # whatever the head said, the wait goes on, and its reason is not known
            log.warning("%s: the cluster's state cannot be read: %s", self._name, error)
            return "the cluster does not say what it has"
        has = " and ".join(supply.has(name) for name in SHOWN)
        return f"{has} are free; {why(self._asked, supply)}"

    def _end(self) -> None:
        if self._since is not None and self._speaks_at > FIRST_S:
            self._notice(f"{self._name}: has its nodes after {self._clock() - self._since:.0f} s")
        self._since, self._speaks_at = None, FIRST_S
