"""Watches a training job from the driver: for nodes that do not come, and for steps that do not come."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Sequence

import ray
from ray._raylet import PlacementGroupID
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

from actors.seat import Seat, on_node_of, wait_until_gone
from actors.supply import Bundle, fits
from actors.wait import Wait
from fusion.runtime import Waits

TICK_S = 1.0
GONE_S = 60.0
CHECK_S = 0.1

log = logging.getLogger(__name__)


class TrainingWatch:
    """One job, from before its first process to after its last.

    Args:
        asked: what each of `size` processes asks of Ray.
        pulse: something that differs whenever the job got further.
        stall_s: how long it may stay the same.
    """

    def __init__(
        self,
        roster: ActorHandle,
        name: str,
        asked: Bundle,
        size: int,
        wait: Wait,
        pulse: Callable[[], object],
        stall_s: float,
        notice: Callable[[str], None],
        waits: Waits,
    ) -> None:
        self._roster = roster
        self._name = name
        self._asked = asked
        self._size = size
        self._wait = wait
        self._pulse = pulse
        self._stall_s = stall_s
        self._notice = notice
        self._waits = waits
        self._seen: object = None
        self._heard = time.monotonic()
        self._killed = 0
        self._others: set[str] = set()
        self._others = set(self._groups())

    def look(self) -> None:
        """To be called every second or so.

        Raises:
            EngineError: no nodes came within `resource_wait_s`.
        """
        _, attempts = ray.get(self._roster.tell.remote())
        is_there = bool(attempts and attempts[-1])
        missing = self._size if attempts and not is_there and self._is_pending() else 0
        self._waits(missing * int(self._asked.get("GPU", 0)))
        self._wait.update(missing, self._size)
        now = (len(attempts), is_there, self._pulse())
        if now != self._seen or not is_there:
            self._seen, self._heard = now, time.monotonic()
        if time.monotonic() - self._heard > self._stall_s and self._killed < len(attempts):
            self._killed = len(attempts)
            self._notice(
                f"{self._name}: no step for {self._stall_s:g} s (placement.stall_s); its processes are killed and "
                "start again from the last checkpoint"
            )
            _kill(attempts[-1])

    def end(self) -> None:
        """End what is left of the job, and see that it is gone.

        Raises:
            EngineError: naming what is still there.
        """
        controller, attempts = ray.get(self._roster.tell.remote())
        if controller is not None:
            ray.kill(controller)
        ray.kill(self._roster)
        for key, state in self._groups().items():
            if state == "PENDING":  # Ray keeps it when its controller was killed, and the autoscaler goes on for it
                remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(key))))
        deadline = time.monotonic() + GONE_S
        while (left := self._groups()) and time.monotonic() < deadline:
            time.sleep(CHECK_S)  # Ray removes the groups of an actor that died, a moment later
        if left:
            log.warning("%s: its placement groups are not removed: %s", self._name, ", ".join(left))
        for seat in (seat for seats in attempts for seat in seats):
            wait_until_gone(seat, self._name, GONE_S)

    def _is_pending(self) -> bool:
        """Whether placement groups wait for nodes; processes that merely start do not."""
        return bool({"PENDING", "RESCHEDULING"} & set(self._groups().values()))

    def _groups(self) -> dict[str, str]:
        """States of the placement groups that look like the job's and were not there before it."""
        found = {}
        for key, group in placement_group_table().items():
            bundles = list(group["bundles"].values())
            alike = len(bundles) == self._size and all(fits(self._asked, one) for one in bundles)
            if alike and group["state"] != "REMOVED" and key not in self._others:
                found[key] = group["state"]
        return found


def _kill(seats: Sequence[Seat]) -> None:
    """Kill processes at once, also those that hear nothing any more."""
    for seat in seats:
        try:
            on_node_of(seat, end_group, seat.pid)
        except RayError as error:
            log.warning("%s cannot be killed, its node is gone: %s", seat, error)


def end_group(pid: int) -> None:
    """SIGKILL to a process of this machine that leads a group, and to those of its group."""
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        log.info("%d has left already", pid)
