"""The driver's end of one source actor: its GPUs, its process, and what it was asked to do.

A replica owns one placement group for its whole life, through all its restarts, and removes it at the end: an
autoscaler brings up nodes for it, and takes them away after it. `stop` returns when the process is verifiably gone,
because the next engine on those GPUs needs their memory.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import cast

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.answers import Answers
from actors.metrics import Queue
from actors.seat import Seat, wait_until_gone
from actors.source import SourceActor
from fusion.artifact import Receipt
from fusion.cluster_config import RayConfig
from fusion.errors import EngineError
from fusion.runtime import Done, WorkerSpec
from fusion.step import Placement

CLOSE_S = 60.0
GONE_S = 60.0

Answer = Future[object]

log = logging.getLogger(__name__)


class Replica:
    """One session on one actor at a time.

    `outstanding` maps the answer awaited to (task_id, task); `opening` is the answer that tells that the session is
    open, None once it came. Both arrive in `answers`.
    """

    def __init__(
        self, worker: WorkerSpec, placement: Placement, name: str, config: RayConfig, answers: Answers[Replica]
    ) -> None:
        self.name = name
        self.outstanding: dict[Answer, tuple[int, object]] = {}
        self._answers = answers
        self._worker = worker
        self._placement = placement
        self._config = config
        self.opening: Answer | None = None
        self._actor: ray.actor.ActorHandle | None = None
        self._seat: Seat | None = None
        self._group: PlacementGroup | None = None
        self._is_placed = False
        self._heard = time.monotonic()

    def start(self) -> None:
        """Ask for an actor and for its session; the first time, and after a death."""
        if self._group is None:
            asked = bundles(self._placement, self._config.cpu_share)
            self._group = placement_group(asked, strategy="PACK")  # Ray allows each name once
        self._is_placed = False
        actor = ray.remote(SourceActor).options(**self._options())
        self._actor = actor.remote(self._worker, self._placement)
        self.opening = self._answers.of(self, self._actor.ready.remote())
        self._heard = time.monotonic()

    def opened(self) -> None:
        """The session is open.

        Raises:
            Exception: what opening it raised, or Ray's exception if the process died.
        """
        opening, self.opening = self.opening, None
        assert opening is not None
        self._seat = cast(Seat, opening.result())
        self._heard = time.monotonic()
        log.info("%s: open, %s", self.name, self._seat)

    def submit(self, task_id: int, task: object) -> None:
        assert self._actor is not None
        if not self.outstanding:
            self._heard = time.monotonic()  # an idle session was not asked for anything, so it was not silent
        self.outstanding[self._answers.of(self, self._actor.process.remote(task))] = (task_id, task)

    def receive(self, answer: Answer) -> Done:
        """A task's receipts.

        Raises:
            Exception: what the task raised, or Ray's exception if the process died; the task stays outstanding.
        """
        receipts = cast(Mapping[str, Receipt], answer.result())
        task_id, _ = self.outstanding.pop(answer)
        self._heard = time.monotonic()
        return Done(task_id, receipts)

    def look_for_place(self) -> bool:
        """Whether it has its resources; while nodes start for it, nobody is silent. After a lost node, not again."""
        if not self._is_placed and self._group is not None:
            self._is_placed = self._group.wait(0)
            self._heard = time.monotonic()
        return self._is_placed

    @property
    def queue(self) -> Queue:
        return Queue(self.name, len(self.outstanding), is_open=self.opening is None)

    @property
    def is_stalled(self) -> bool:
        """Whether an answer is overdue."""
        awaited = self._is_placed and (self.opening is not None or bool(self.outstanding))
        return awaited and time.monotonic() - self._heard > self._placement.stall_s

    def kill(self) -> list[tuple[int, object]]:
        """End the process at once; returns the tasks it had. Its placement group stays for a successor."""
        lost = list(self.outstanding.values())
        self.outstanding.clear()
        self.opening = None
        if self._actor is not None:
            ray.kill(self._actor)
            self._verify_dead(self._actor)
            self._actor = None
        return lost

    def stop(self, graceful: bool) -> None:
        """End the process, give back its GPUs, and see that both happened.

        Raises:
            EngineError: naming what is still there.
        """
        try:
            if graceful and self._actor is not None and self.opening is None:
                self._close(self._actor)
            self.kill()
        finally:
            if self._group is not None:
                remove_placement_group(self._group)
        if self._group is not None:
            self._verify_removed(self._group)

    # -- private -------------------------------------------------------------------------------------------------

    def _options(self) -> dict[str, object]:
        threads = self._placement.in_flight + 1  # one more, so that `close` is heard at any time
        assert self._group is not None
        first = self._group.bundle_specs[0]
        # Over several bundles the engine starts a Ray worker in each, and those take the GPUs; else the actor has them.
        spread = self._group.bundle_count > 1
        strategy = PlacementGroupSchedulingStrategy(
            self._group, placement_group_bundle_index=0, placement_group_capture_child_tasks=spread
        )
        return {
            "num_cpus": 0 if spread else first["CPU"],
            "num_gpus": 0 if spread else first.get("GPU", 0),
            "max_concurrency": threads,
            "scheduling_strategy": strategy,
        }

    def _close(self, actor: ray.actor.ActorHandle) -> None:
        try:
            ray.get(actor.close.remote(), timeout=CLOSE_S)
        except RayError as error:
            log.warning("%s: its session did not close, so it is killed: %s", self.name, error)

    def _verify_dead(self, actor: ray.actor.ActorHandle) -> None:
        try:
            ray.get(actor.ready.remote(), timeout=GONE_S)
        except ray.exceptions.GetTimeoutError:
            raise EngineError(
                f"{self.name}: its actor ({self._seat}) was killed {GONE_S:.0f} s ago, yet alive"
            ) from None
        except RayError:
            pass  # the proof wanted: Ray knows the actor as dead
        if self._seat is not None:
            wait_until_gone(self._seat, self.name, GONE_S)
            self._seat = None

    def _verify_removed(self, group: PlacementGroup) -> None:
        deadline = time.monotonic() + GONE_S
        while placement_group_table(group)["state"] != "REMOVED":
            if time.monotonic() > deadline:
                held = f"placement group {group.id.hex()} still holds its GPUs {GONE_S:.0f} s after its removal"
                raise EngineError(f"{self.name}: {held}")
            time.sleep(0.05)


def bundles(placement: Placement, cpu_share: float) -> list[dict[str, float]]:
    """What one replica reserves: a whole engine on one node, or with pipeline stages one GPU a bundle, over nodes."""
    if placement.pipeline_parallel == 1:
        return [wanted(placement, cpu_share)]
    cpus = placement.cpus * cpu_share / placement.gpus
    return [{"GPU": 1, "CPU": cpus} for _ in range(placement.gpus)]


def wanted(placement: Placement, cpu_share: float) -> dict[str, float]:
    """What one worker asks of Ray."""
    cpus = {"CPU": placement.cpus * cpu_share}
    return {"GPU": placement.gpus, **cpus} if placement.gpus else cpus
