"""One point: a run enters a stage, is hurt, and the same command follows; what must hold after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.chaos.calm import Calm
from tests.end_to_end.chaos.cluster import RayNodes
from tests.end_to_end.chaos.harm import STALL_S, Scene, do, harm_of
from tests.end_to_end.chaos.plan import Point
from tests.end_to_end.chaos.ride import Ride, rows_there
from tests.end_to_end.chaos.stages import STAGES, Stage, enter, extent
from tests.end_to_end.chaos.verdict import asked_again, committed, differences, picture, touched

RUNS, DETECTION_S = 2.0, 90.0
"""Longest that a run may take to be done after harm: so many undisturbed runs of all stages, and until a death, a lost
node or a silence is noticed."""


@dataclass(frozen=True)
class Aftermath:
    """What was wrong (empty: nothing), and how long it took."""

    wrong: list[str]
    code: int
    hurt_s: float
    """From the harm to the end of the run."""
    again_s: float
    """Of the command after it."""
    limit_s: float
    """Of both together."""

    def __str__(self) -> str:
        took = f"exit {self.code:3} after {self.hurt_s:5.1f} s, then {self.again_s:5.1f} s"
        return f"{took} (of {self.limit_s:.0f} s)"


def endure(point: Point, calm: Calm, nodes: RayNodes | None) -> Aftermath:
    """Go through a point.

    Raises:
        AssertionError: a run ended otherwise than it may.
        MissedError: the run ended before it was hurt.
    """
    if nodes is not None:
        nodes.complete()
    stage, name = STAGES[point.stage], point.name
    store = enter(stage, calm.store, calm.workspace / f"{name}_store")
    joined = () if nodes is None else (f"cluster.ray.address={nodes.address}",)
    settings = {} if nodes is None else nodes.settings
    more = _impatient() if point.fault.startswith("stall") else ()
    with Ride(calm.workspace, name, store, *joined, *more, settings=settings) as ride:
        do(point, Scene(ride, nodes), _moment(stage, store, int(point.moment * extent(stage, calm.store))))
        hurt = time.monotonic()
        before = committed(store)
        code = ride.ended()
        ended = time.monotonic()
        assert code in harm_of(point).codes, f"exit code {code}: {ride.tail()}"
    wrong = touched(before, store)
    there = rows_there(store)
    with Ride(calm.workspace, name, store, *joined, settings=settings) as ride:
        assert ride.ended() == 0, ride.tail()
    again_s = time.monotonic() - ended
    wrong += touched(before, store) + asked_again(calm.workspace, name, there)
    wrong += differences(picture(calm.workspace, name), calm.picture)
    limit_s = RUNS * calm.seconds + DETECTION_S
    if ended - hurt + again_s > limit_s:
        wrong.append(f"it took {ended - hurt + again_s:.0f} s to be done after the harm; {limit_s:.0f} s are allowed")
    return Aftermath(wrong, code, ended - hurt, again_s, limit_s)


def _moment(stage: Stage, store: Path, wanted: int) -> Callable[[], bool]:
    """Whether the stage has begun, and is so far."""
    return lambda: any(any(store.glob(made)) for made in stage.made) and stage.moments(store) >= wanted


def _impatient() -> tuple[str, ...]:
    pools = ("responses", "rewards", "verifiers", "checkpoint", "logprobs")
    return tuple(f"++cluster.pools.{pool}.stall_s={STALL_S}" for pool in pools)
