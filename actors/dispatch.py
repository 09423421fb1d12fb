"""Tasks over replicas: each is kept busy some tasks deep, a dead one is replaced, and what it had is done again.

The loop lives in the driver and holds no results: a task's answer is a receipt for parts that are committed already.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

from ray.exceptions import RayError

from actors.answers import Answers
from actors.failure import cause_of, is_death, to_raise
from actors.metrics import Queue, RunMetrics, WorkMetrics
from actors.replica import Answer, Replica, bundles
from actors.wait import Wait
from fusion.artifact import Receipt
from fusion.cluster_config import RayConfig
from fusion.errors import EngineError
from fusion.runtime import Done, Tasks, Waits, WorkerSpec, num_answers
from fusion.step import Placement

TICK_S = 1.0
AHEAD = 4
"""Answers that a replica is asked for at a time, in batches of its engine. A task ends with its longest answer, so of
what is outstanding half and more is finished: with 3 batches lie idle, and with 5 and more the end of a map waits for
what queues at a slow replica (`tests/benchmarks/bench_scale.py`)."""

log = logging.getLogger(__name__)


def dispatch(
    worker: WorkerSpec,
    tasks: Tasks,
    placement: Placement,
    name: str,
    config: RayConfig,
    notice: Callable[[str], None],
    metrics: RunMetrics,
    waits: Waits,
) -> Iterator[Done]:
    """See `fusion.runtime.Runtime.map`."""
    numbered = enumerate(tasks)
    first = next(numbered, None)
    if first is None:
        return
    answers: Answers[Replica] = Answers()
    names = [f"{name}[{number}]" for number in range(placement.replicas)]
    replicas = [Replica(worker, placement, one, config, answers) for one in names]
    wait = Wait(name, bundles(placement, config.cpu_share), config.resource_wait_s, notice)
    told = WorkMetrics(metrics, name)

    def without_place(missing: int, wanted: int) -> None:
        waits(missing * placement.gpus)
        wait.update(missing, wanted)

    tell = Listening(without_place, told)
    finished = False
    try:
        for replica in replicas:
            replica.start()
        yield from Dispatch(replicas, answers, tasks, chain([first], numbered), placement, name, tell).run()
        finished = True
    finally:
        told.ended()
        waits(0)
        _stop(replicas, graceful=finished)


class Told(Protocol):
    """Who counts what a map does; `WorkMetrics` is one."""

    def heard(self, receipts: Mapping[str, Receipt]) -> None: ...
    def died(self) -> None: ...
    def map_stands(self, queues: Sequence[Queue]) -> None: ...


@dataclass(frozen=True)
class Listening:
    """Who hears how a map stands: `wait` every second how many replicas of how many have no place (`Wait.update`)."""

    wait: Callable[[int, int], None]
    told: Told


class Host(Protocol):
    """What is dispatched to; `Replica` is one. See there."""

    name: str
    outstanding: dict[Answer, tuple[int, object]]
    opening: Answer | None

    @property
    def is_stalled(self) -> bool: ...
    @property
    def queue(self) -> Queue: ...
    def look_for_place(self) -> bool: ...
    def start(self) -> None: ...
    def opened(self) -> None: ...
    def submit(self, task_id: int, task: object) -> None: ...
    def receive(self, answer: Answer) -> Done: ...
    def kill(self) -> list[tuple[int, object]]: ...


AnyHost = TypeVar("AnyHost", bound=Host)


class Arrivals(Protocol[AnyHost]):
    """Answers of hosts as they arrive; `Answers` is one."""

    def wait(self, timeout_s: float) -> list[tuple[AnyHost, Answer]]: ...


class Dispatch(Generic[AnyHost]):
    """The state of one map: what is still to be handed out, what is to be done again, how many deaths there were."""

    def __init__(
        self,
        replicas: Sequence[AnyHost],
        answers: Arrivals[AnyHost],
        tasks: Tasks,
        numbered: Iterator[tuple[int, object]],
        placement: Placement,
        name: str,
        listening: Listening,
    ) -> None:
        self._replicas = replicas
        self._answers = answers
        self._tasks = tasks
        self._fresh = numbered
        self._again: deque[tuple[int, object]] = deque()
        self._placement = placement
        self._name = name
        self._deaths = 0
        self._asked = {replica.name: 0 for replica in replicas}
        """Answers asked of each and not yet there."""
        self._listening = listening
        self._looked = 0.0

    def run(self) -> Iterator[Done]:
        while True:
            empty = self._fill()
            self._look_around()
            if empty and not any(replica.outstanding for replica in self._replicas):
                return
            arrived = self._answers.wait(TICK_S)
            # Judged before answers are handed out: the caller may take its time, and that is nobody's silence.
            heard = {replica.name for replica, _ in arrived}
            silent = [one for one in self._replicas if one.name not in heard and one.is_stalled]
            for replica, answer in arrived:
                yield from self._answer(replica, answer)
            for replica in silent:
                self._replace(replica, f"nothing came back for {self._placement.stall_s:g} s (placement.stall_s)")

    def _look_around(self) -> None:
        if time.monotonic() - self._looked < TICK_S:
            return
        self._looked = time.monotonic()
        self._listening.wait(sum(not replica.look_for_place() for replica in self._replicas), len(self._replicas))
        self._listening.told.map_stands([replica.queue for replica in self._replicas])

    def _fill(self) -> bool:
        """Hand out tasks, to the emptiest replica first; True when there is none left to hand out."""
        while (replica := self._emptiest()) is not None:
            task = self._again.popleft() if self._again else next(self._fresh, None)
            if task is None:
                return True
            self._asked[replica.name] += num_answers(task[1])
            replica.submit(*task)
        return False

    def _emptiest(self) -> AnyHost | None:
        """The replica with the fewest answers to give among those that may be given more, by tasks if these do not
        say how many they ask for."""
        asked, answers, deepest = self._asked, AHEAD * self._placement.max_sequences, self._placement.in_flight
        found, least = None, (answers, deepest)
        for replica in self._replicas:
            depth = len(replica.outstanding)
            if depth < deepest and replica.opening is None and (load := (asked[replica.name], depth)) < least:
                found, least = replica, load
        return found

    def _answer(self, replica: AnyHost, answer: Answer) -> Iterator[Done]:
        done = None
        try:
            if answer is replica.opening:
                replica.opened()
            elif answer in replica.outstanding:  # else it was lost with its process a moment ago
                _, task = replica.outstanding[answer]
                done = replica.receive(answer)
                self._asked[replica.name] -= num_answers(task)
        except Exception as error:
            if not is_death(error):
                raise to_raise(self._name, error) from cause_of(error)
            log.info("%s: %s", replica.name, error)  # Ray's whole account of the death
            self._replace(replica, _first_line(cause_of(error)))
        if done is not None:
            self._listening.told.heard(done.receipts)
            yield done

    def _replace(self, replica: AnyHost, why: str) -> None:
        self._deaths += 1
        self._listening.told.died()
        lost = replica.kill()
        self._asked[replica.name] = 0
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
