"""Replicas that take no time: engines in virtual time behind the driver's own dispatch.

What the driver runs is the program's (`actors.dispatch.Dispatch`, tasks, receipts, accounts); only the engines and the
way to them are simulated. An engine batches continuously: up to `slots` answers at a time, first come first served,
each a token a step, and a step takes `base_s` and `per_answer_s` for each answer in the batch. The driver is one
server: what it computes takes its own CPU time on the same clock, so that engines wait for a slow driver.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from actors.dispatch import Dispatch, Listening
from actors.metrics import Queue
from fusion.artifact import Part, Receipt
from fusion.key_table import digests_of
from fusion.part_keys import PartKeys
from fusion.runtime import Done, Tasks
from fusion.schema import key_string
from fusion.stages.generate_tasks import Asked
from fusion.step import Placement

Answer = Future[object]
Lengths = Callable[[int], Sequence[int]]
"""How many answers -> tokens of each."""


@dataclass(frozen=True)
class Speed:
    """Of one engine. The default is what `fusion.planning.gpu_time` says of 70 billion weights in bf16 on four H100:
    27.4 ms a step for reading weights and for what is beside it, 0.0987 ms for each answer; 4,860 tokens/s at 256."""

    slots: int = 256
    base_s: float = 0.0274
    per_answer_s: float = 0.0000987

    def step_s(self, batch: int) -> float:
        return self.base_s + self.per_answer_s * batch


@dataclass
class Engine:
    """One engine; `now` is how far it has been worked out, which may be ahead of the clock while its batch is full:
    nothing that is submitted later can then change what it did."""

    speed: Speed
    now: float = 0.0
    steps: float = 0.0
    active: list[tuple[float, int]] = field(default_factory=list)  # (step at which it ends, task)
    waiting: deque[tuple[int, int]] = field(default_factory=deque)  # (tokens, task)
    left: dict[int, int] = field(default_factory=dict)  # task -> answers to come
    used: list[tuple[float, float, float]] = field(default_factory=lambda: [(0.0, 0.0, 0.0)])
    """(time, seconds with an answer in work, slot-seconds in use), growing."""
    was_full: bool = False

    def submit(self, clock: float, task: int, tokens: Sequence[int]) -> None:
        if clock > self.now:
            self._pass(clock)
        self.left[task] = len(tokens)
        self.waiting.extend((length, task) for length in tokens)
        self._admit()

    def next_s(self) -> float:
        """When the next answer ends."""
        if not self.active:
            return float("inf")
        return self.now + (self.active[0][0] - self.steps) * self.speed.step_s(len(self.active))

    def work(self) -> int | None:
        """Go on to the end of an answer, and to the next ones while others wait; the task that ended, if one did."""
        while self.active:
            self._pass(self.next_s())
            self.steps = self.active[0][0]
            _, task = heapq.heappop(self.active)
            self._admit()
            self.left[task] -= 1
            if not self.left[task]:
                del self.left[task]
                return task
            if not self.waiting:
                return None
        return None

    def in_use(self, until: float) -> tuple[float, float]:
        """Seconds with an answer in work, and slot-seconds in use, from 0 to `until`."""
        times, busy, slots = zip(*self.used, strict=True)
        return float(np.interp(until, times, busy)), float(np.interp(until, times, slots))

    def _pass(self, then: float) -> None:
        seconds, batch = then - self.now, len(self.active)
        if batch:
            self.steps += seconds / self.speed.step_s(batch)
        _, busy, slots = self.used[-1]
        entry = (then, busy + seconds * bool(batch), slots + seconds * batch)
        # While the batch stays full the line is straight, and one point at its end is enough.
        if batch == self.speed.slots and len(self.used) > 1 and self.was_full:
            self.used[-1] = entry
        else:
            self.used.append(entry)
        self.was_full = batch == self.speed.slots
        self.now = then

    def _admit(self) -> None:
        while self.waiting and len(self.active) < self.speed.slots:
            tokens, task = self.waiting.popleft()
            heapq.heappush(self.active, (self.steps + tokens, task))


class Clock:
    """Virtual time, with the driver's share of it."""

    def __init__(self, charges_driver: bool, transport_s: float) -> None:
        self.now = 0.0
        self.driver_s = 0.0
        self._charges = charges_driver
        self._transport_s = transport_s
        self._left_at = time.thread_time()

    def enter(self) -> None:
        """The driver comes out of its own work: that took time."""
        spent = time.thread_time() - self._left_at
        self.driver_s += spent
        if self._charges:
            self.now += spent

    def leave(self) -> None:
        self._left_at = time.thread_time()

    def send(self) -> None:
        """What one task costs the driver beside the work seen here: pickling, Ray's calls."""
        self.now += self._transport_s
        self.driver_s += self._transport_s


class Untold:
    """Nobody counts."""

    def heard(self, receipts: object) -> None: ...
    def died(self) -> None: ...
    def map_stands(self, queues: object) -> None: ...


def _none_waits(missing: int, wanted: int) -> None:
    assert not missing


NOBODY = Listening(_none_waits, Untold())


class Cluster:
    """Simulated replicas with their clock; also what tells the driver of their answers.

    `rows_at` holds (time, rows committed until then), growing.
    """

    def __init__(self, speeds: Sequence[Speed], lengths: Lengths, charges_driver: bool, transport_s: float) -> None:
        self.clock = Clock(charges_driver, transport_s)
        self.lengths = lengths
        self.rows_at: list[tuple[float, int]] = [(0.0, 0)]
        self.replicas = [SimulatedReplica(self, number, speed) for number, speed in enumerate(speeds)]
        self._arrived: list[tuple[SimulatedReplica, Answer]] = []
        self._events: list[tuple[float, int, int]] = []  # time, replica, its version then

    def run(self, tasks: Tasks, placement: Placement) -> Iterator[Done]:
        """`actors.dispatch.dispatch` over these replicas."""
        for replica in self.replicas:
            replica.start()
            assert replica.opening is not None
            self._arrived.append((replica, replica.opening))
        yield from Dispatch(self.replicas, self, tasks, enumerate(tasks), placement, "simulated", NOBODY).run()

    def wait(self, timeout_s: float) -> list[tuple[SimulatedReplica, Answer]]:
        """Answers that have arrived by now; if there is none, the clock goes on to the next."""
        self.clock.enter()
        found, self._arrived = self._arrived, []
        while self._events and (self._events[0][0] <= self.clock.now or not found):
            at, number, version = heapq.heappop(self._events)
            replica = self.replicas[number]
            if version == replica.version:
                self.clock.now = max(self.clock.now, at)
                found += replica.happen(at)
        self.clock.leave()
        return found

    def await_event(self, replica: SimulatedReplica, at: float) -> None:
        heapq.heappush(self._events, (at, replica.number, replica.version))


class SimulatedReplica:
    """Keeps the contract of `actors.replica.Replica` as far as `Dispatch` needs it."""

    def __init__(self, cluster: Cluster, number: int, speed: Speed) -> None:
        self.name = f"simulated[{number}]"
        self.number = number
        self.version = 0
        """Events noted under an earlier one are void."""
        self.engine = Engine(speed)
        self.outstanding: dict[Answer, tuple[int, object]] = {}
        self.opening: Answer | None = None
        self._cluster = cluster
        self._answers: dict[int, Answer] = {}
        self._ended: int | None = None
        self._is_ahead = False

    @property
    def is_stalled(self) -> bool:
        return False

    @property
    def queue(self) -> Queue:
        return Queue(self.name, len(self.outstanding), is_open=self.opening is None)

    def look_for_place(self) -> bool:
        return True

    def start(self) -> None:
        self.opening = Future()

    def opened(self) -> None:
        self.opening = None

    def submit(self, task_id: int, task: object) -> None:
        clock = self._cluster.clock
        clock.enter()
        clock.send()
        assert isinstance(task, Asked)
        answer: Answer = Future()
        self.outstanding[answer] = (task_id, task)
        self._answers[task_id] = answer
        tokens = self._cluster.lengths(sum(len(indices) for _, indices in task.samples))
        self.engine.submit(clock.now, task_id, tokens)
        if not self._is_ahead:
            self._plan()
        clock.leave()

    def receive(self, answer: Answer) -> Done:
        clock = self._cluster.clock
        clock.enter()
        task_id, task = self.outstanding.pop(answer)
        assert isinstance(task, Asked)
        done = Done(task_id, {task.out.path: receipt_of(task, task_id)})
        clock.leave()
        return done

    def kill(self) -> list[tuple[int, object]]:
        raise AssertionError("simulated replicas do not die")

    def happen(self, at: float) -> list[tuple[SimulatedReplica, Answer]]:
        """The event that was noted for `at`."""
        ended = self._ended if self._is_ahead else self.engine.work()
        self._ended, self._is_ahead = None, False
        self._plan()
        if ended is None:
            return []
        answer = self._answers.pop(ended)
        _, task = self.outstanding[answer]
        assert isinstance(task, Asked)
        rows = self._cluster.rows_at
        rows.append((at, rows[-1][1] + sum(len(indices) for _, indices in task.samples)))
        return [(self, answer)]

    def _plan(self) -> None:
        """Note when the next thing happens here; while answers wait for a slot it is worked out at once."""
        self.version += 1
        if self.engine.waiting:
            self._ended, self._is_ahead = self.engine.work(), True
            self._cluster.await_event(self, self.engine.now)
        elif self.engine.active:
            self._cluster.await_event(self, self.engine.next_s())


def receipt_of(task: Asked, task_id: int) -> Receipt:
    """What a worker reports that committed all rows of a task; nothing is written."""
    keys = [key_string((prompt, task.source, index)) for prompt, indices in task.samples for index in indices]
    # Names of parts are hashes; these are as long.
    part = Part(f"parts/{task_id:032x}.parquet", len(keys), 700 * len(keys), PartKeys(digests_of(keys).tobytes()))
    return Receipt(parts=(part,), num_tokens=len(keys), num_requests=len(keys))
