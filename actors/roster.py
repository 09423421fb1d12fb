"""Who trains: what Ray Train's controller tells of its processes, kept where the driver can ask for it.

Each attempt of a training job has processes of its own, which Ray Train starts together and ends together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ray
from ray.actor import ActorHandle
from ray.train.v2._internal.execution.callback import ControllerCallback, WorkerGroupCallback

from actors.seat import Seat

if TYPE_CHECKING:
    from ray.train.v2._internal.execution.worker_group import WorkerGroup, WorkerGroupContext


class Roster:
    """The actor that holds the news."""

    def __init__(self) -> None:
        self._controller: ActorHandle | None = None
        self._attempts: list[list[Seat]] = []

    def begin(self, controller: ActorHandle) -> None:
        self._controller = controller

    def ask(self) -> None:
        """An attempt begins: its processes are asked for, and none is there."""
        self._attempts.append([])

    def start(self, seats: list[Seat]) -> None:
        """The processes of the latest attempt are there."""
        self._attempts[-1] = seats

    def tell(self) -> tuple[ActorHandle | None, list[list[Seat]]]:
        """(controller, None before there is one; processes of each attempt, empty before they are there)."""
        return self._controller, self._attempts


class Reporter(ControllerCallback, WorkerGroupCallback):  # type: ignore[misc]  # Ray ships no types
    """Lives in the controller and fills the roster."""

    def __init__(self, roster: ActorHandle) -> None:
        self._roster = roster

    def after_controller_start(self, train_run_context: object) -> None:
        ray.get(self._roster.begin.remote(ray.get_runtime_context().current_actor))

    def before_worker_group_start(self, worker_group_context: WorkerGroupContext) -> None:
        ray.get(self._roster.ask.remote())

    def after_worker_group_start(self, worker_group: WorkerGroup) -> None:
        told = [worker.metadata for worker in worker_group.get_workers()]
        seats = [Seat(one.pid, one.node_id, one.hostname, tuple(map(str, one.gpu_ids))) for one in told]
        ray.get(self._roster.start.remote(seats))
