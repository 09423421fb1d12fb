"""Tasks over replicas: each is kept `in_flight` deep, a dead one is replaced, and what it had is done again.

The loop lives in the driver and holds no results: a task's answer is a receipt for parts that are committed already.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from itertools import chain

import ray
from ray.exceptions import RayError

from actors.failure import cause_of, is_death, to_raise
from actors.replica import Replica
from fusion.cluster_config import RayConfig
from fusion.errors import EngineError
from fusion.runtime import Done, Tasks, WorkerSpec
from fusion.step import Placement

TICK_S = 1.0

log = logging.getLogger(__name__)


def dispatch(worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str, config: RayConfig) -> Iterator[Done]:
    """See `fusion.runtime.Runtime.map`."""
    numbered = enumerate(tasks)
    first = next(numbered, None)
    if first is None:
        return
    replicas = [Replica(worker, placement, f"{name}[{number}]", config) for number in range(placement.replicas)]
    finished = False
    try:
        for replica in replicas:
            replica.start()
        yield from _Dispatch(replicas, tasks, chain([first], numbered), placement, name).run()
        finished = True
    finally:
        _stop(replicas, graceful=finished)


class _Dispatch:
    """The state of one map: what is still to be handed out, what is to be done again, how many deaths there were."""

    def __init__(
        self,
        replicas: list[Replica],
        tasks: Tasks,
        numbered: Iterator[tuple[int, object]],
        placement: Placement,
        name: str,
    ) -> None:
        self._replicas = replicas
        self._tasks = tasks
        self._fresh = numbered
        self._again: deque[tuple[int, object]] = deque()
        self._placement = placement
        self._name = name
        self._deaths = 0

    def run(self) -> Iterator[Done]:
        while True:
            empty = self._fill()
            awaited = {ref: replica for replica in self._replicas for ref in replica.outstanding}
            if empty and not awaited:
                return
            awaited |= {replica.opening: replica for replica in self._replicas if replica.opening is not None}
            arrived = _arrived(list(awaited))
            # Judged before answers are handed out: the caller may take its time, and that is nobody's silence.
            heard = {awaited[ref].name for ref in arrived}
            silent = [one for one in self._replicas if one.name not in heard and one.is_stalled]
            for ref in arrived:
                yield from self._answer(awaited[ref], ref)
            for replica in silent:
                self._replace(replica, f"nothing came back for {self._placement.stall_s:g} s (placement.stall_s)")

    def _fill(self) -> bool:
        """Hand out tasks, to the emptiest replica first; True when there is none left to hand out."""
        while (replica := max(self._replicas, key=lambda one: one.room)).room > 0:
            task = self._again.popleft() if self._again else next(self._fresh, None)
            if task is None:
                return True
            replica.submit(*task)
        return False

    def _answer(self, replica: Replica, ref: ray.ObjectRef) -> Iterator[Done]:
        done = None
        try:
            if ref == replica.opening:
                replica.opened()
            elif ref in replica.outstanding:  # else it was lost with its process a moment ago
                done = replica.receive(ref)
        except Exception as error:
            if not is_death(error):
                raise to_raise(self._name, error) from cause_of(error)
            log.info("%s: %s", replica.name, error)  # Ray's whole account of the death
            self._replace(replica, _first_line(cause_of(error)))
        if done is not None:
            yield done

    def _replace(self, replica: Replica, why: str) -> None:
        self._deaths += 1
        lost = replica.kill()
        if self._deaths > self._placement.max_restarts:
            raise EngineError(
                f"{replica.name} died: {why}. That was death {self._deaths} of this step, more than "
                f"placement.max_restarts ({self._placement.max_restarts}). What is committed is kept; "
                "the same command goes on from there"
            )
        left = [(task_id, self._tasks.remaining(task)) for task_id, task in lost]
        again = [(task_id, task) for task_id, task in left if task is not None]
        self._again.extend(again)
        budget = f"restart {self._deaths} of {self._placement.max_restarts}"
        log.warning("%s died: %s; %s, %d of its %d tasks go on", replica.name, why, budget, len(again), len(lost))
        replica.start()


def _arrived(refs: list[ray.ObjectRef]) -> list[ray.ObjectRef]:
    """What has arrived, waiting up to a tick for the first."""
    ray.wait(refs, num_returns=1, timeout=TICK_S, fetch_local=False)
    done, _ = ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)
    return list(done)


def _stop(replicas: list[Replica], graceful: bool) -> None:
    """Stop all, then raise the first complaint: one that cannot be stopped must not keep the others alive."""
    complaints = []
    for replica in replicas:
        try:
            replica.stop(graceful)
        except (EngineError, RayError) as error:
            complaints.append(error)
    if complaints:
        raise complaints[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0] or type(error).__name__
