"""Where work runs: in this process, on local Ray, or on a cluster; one protocol.

A `WorkerSpec` is small picklable data that says how to open a session; a session does one task at a time per calling
thread, commits its parts, and answers with a receipt. The runtime decides how many sessions there are, where, what
happens when one dies, and that results stream back while work goes on.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from fusion.artifact import Receipt
from fusion.step import Placement


@dataclass(frozen=True, slots=True)
class Done:
    """One finished task: which one, and a receipt for each artifact it wrote to, by artifact path."""

    task_id: int
    receipts: Mapping[str, Receipt]


class Session(Protocol):
    """An open worker. `process` may be called from several threads at once; it returns after the commit."""

    def process(self, task: object) -> Mapping[str, Receipt]: ...


class WorkerSpec(Protocol):
    """Picklable description of a worker."""

    def open(self, placement: Placement) -> AbstractContextManager[Session]: ...


class TrainSpec(Protocol):
    """Picklable description of a training job; `run` is called once in each training process."""

    def run(self, rank: int, world_size: int) -> None: ...


class Tasks(Protocol):
    """The tasks of a `map`, with what to do when a worker dies."""

    def __iter__(self) -> Iterator[object]: ...

    def remaining(self, task: object) -> object | None:
        """What of a task is still to do after its worker died (some of it may be committed), or None."""
        ...


class Runtime(Protocol):
    """The three runtimes keep this contract; `tests/test_runtime.py` runs against each."""

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        """Run tasks on `placement.replicas` sessions, `placement.in_flight` outstanding at each, in any order.

        Raises:
            EngineError: more than `placement.max_restarts` sessions died, or one stalled for `placement.stall_s`.
        """
        ...

    def stream(
        self, workers: Sequence[tuple[WorkerSpec, Placement]], feed: Iterable[object], name: str
    ) -> Iterator[Done]:
        """Run every worker pool over a feed whose items appear over time; ends when the feed ends.

        Every item goes through every pool, so an item yields one `Done` a pool.
        """
        ...

    def train(self, spec: TrainSpec, placement: Placement, name: str) -> None:
        """Run a training job on `placement.replicas` processes; restarts it up to `placement.max_restarts` times."""
        ...

    def close(self) -> None: ...


class InProcess:
    """Everything in this process, in threads: tests, debugging, and machines without Ray."""

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        with worker.open(placement) as session, ThreadPoolExecutor(placement.in_flight) as pool:
            waiting: dict[Future[Mapping[str, Receipt]], int] = {}
            for task_id, task in enumerate(tasks):
                waiting[pool.submit(session.process, task)] = task_id
                if len(waiting) >= placement.in_flight:
                    yield from _finished(waiting, FIRST_COMPLETED)
            while waiting:
                yield from _finished(waiting, FIRST_COMPLETED)

    def stream(
        self, workers: Sequence[tuple[WorkerSpec, Placement]], feed: Iterable[object], name: str
    ) -> Iterator[Done]:
        results: queue.Queue[Done | BaseException | None] = queue.Queue()
        items = list(feed) if len(workers) > 1 else feed

        def pump(worker: WorkerSpec, placement: Placement) -> None:
            try:
                with worker.open(placement) as session:
                    for task_id, item in enumerate(items):
                        results.put(Done(task_id, session.process(item)))
            except BaseException as error:
                results.put(error)
            finally:
                results.put(None)

        threads = [threading.Thread(target=pump, args=pair, name=name, daemon=True) for pair in workers]
        for thread in threads:
            thread.start()
        running = len(threads)
        while running:
            result = results.get()
            if result is None:
                running -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result

    def train(self, spec: TrainSpec, placement: Placement, name: str) -> None:
        spec.run(rank=0, world_size=1)

    def close(self) -> None:
        """Sessions are closed by their `with` blocks."""


def _finished(waiting: dict[Future[Mapping[str, Receipt]], int], when: str) -> Iterator[Done]:
    done, _ = wait(waiting, return_when=when)
    for future in done:
        yield Done(waiting.pop(future), future.result())
