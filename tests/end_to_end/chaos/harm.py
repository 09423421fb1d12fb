"""How each fault of the plan is done to a run, and how a run may end after it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from tests.end_to_end.chaos.cluster import RayNodes
from tests.end_to_end.chaos.plan import Point
from tests.end_to_end.chaos.ride import Ride, find, kill

NOTICE_S = 3
STALL_S = 20.0
"""Silence after which a worker counts as dead, in points that stall one."""
INTERRUPTED = 130


@dataclass
class Scene:
    """A run that is to be hurt, and the Ray it joined, if any."""

    ride: Ride
    nodes: RayNodes | None

    def worker(self, title: str) -> psutil.Process | None:
        return find(self.ride.process.pid, title) if self.nodes is None else self.nodes.worker(title)


@dataclass(frozen=True)
class Harm:
    """`do` what, to the worker of which title (empty: the driver), and the exit codes that a run may have then."""

    title: str
    do: Callable[[Scene, psutil.Process], None]
    codes: frozenset[int]


def harm_of(point: Point) -> Harm:
    """The harm that a point's words name."""
    if point.fault in OF_THE_WHOLE:
        return OF_THE_WHOLE[point.fault]
    words, _, title = point.fault.rpartition(" ")
    do, codes = OF_A_WORKER[words]
    return Harm(title, do, codes)


def _kill(scene: Scene, worker: psutil.Process) -> None:
    kill(worker)


def _stall(scene: Scene, worker: psutil.Process) -> None:
    os.kill(worker.pid, signal.SIGSTOP)


def _interrupt(scene: Scene, driver: psutil.Process) -> None:
    os.kill(driver.pid, signal.SIGINT)


def _lose_node(scene: Scene, worker: psutil.Process) -> None:
    assert scene.nodes is not None
    scene.nodes.lose_node_of(worker)


def _preempt_node(scene: Scene, worker: psutil.Process) -> None:
    assert scene.nodes is not None
    scene.nodes.preempt_node_of(worker, NOTICE_S)


SURVIVED, MAY_FAIL = frozenset({0}), frozenset({0, 1})
"""A map replaces whom it lost; a stream that loses its feed with a node, or hears nothing, ends with a message."""
OF_A_WORKER: dict[str, tuple[Callable[[Scene, psutil.Process], None], frozenset[int]]] = {
    "kill": (_kill, SURVIVED),
    "stall": (_stall, MAY_FAIL),
    "lose the node of": (_lose_node, MAY_FAIL),
    "preempt the node of": (_preempt_node, MAY_FAIL),
}
OF_THE_WHOLE = {
    "kill driver": Harm("", _kill, frozenset({-signal.SIGKILL})),
    "interrupt driver": Harm("", _interrupt, frozenset({INTERRUPTED})),
    "kill head": Harm("gcs_server", _kill, frozenset({1})),
}


def do(point: Point, scene: Scene, is_ripe: Callable[[], bool]) -> float:
    """Hurt the run when the moment has come; returns when that was (monotonic).

    Raises:
        MissedError: the run ended first.
    """
    harm = harm_of(point)
    found: list[psutil.Process] = []

    def victim_is_there() -> bool:
        worker = scene.worker(harm.title) if harm.title else psutil.Process(scene.ride.process.pid)
        found[:] = [] if worker is None else [worker]
        return worker is not None

    scene.ride.wait_for(is_ripe, f"the moment of {point.name}")
    scene.ride.wait_for(victim_is_there, f"the victim of {point.name}")
    harm.do(scene, found[0])
    return time.monotonic()
