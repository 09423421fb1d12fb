"""Where work runs: in this process, on local Ray, or on a cluster; one protocol.

A `WorkerSpec` is small picklable data that says how to open a session; a session does one task at a time per calling
thread, commits its parts, and answers with a receipt. The runtime decides how many sessions there are, where, what
happens when one dies, and that results stream back while work goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, runtime_checkable

from fusion.artifact import Receipt
from fusion.errors import EngineError, FusionError
from fusion.loading import LOADING
from fusion.step import Placement


@dataclass(frozen=True, slots=True)
class Done:
    """One finished task: which one, and a receipt for each artifact it wrote to, by artifact path."""

    task_id: int
    receipts: Mapping[str, Receipt]


class Session(Protocol):
    """An open worker.

    A session of a `map` is called from `placement.in_flight` threads, a session of a `stream` from one.
    """

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Do a task and commit it; returns after the commit.

        A task may come twice, whole: the worker that did it died before its receipt was heard. Committed parts are
        named by their content, so rows that come out equal are the same part and count once; what is not reproducible
        must be looked up before it is made again (a `map` asks `Tasks.remaining`, a `stream` cannot).

        Raises:
            EngineError: the engine is dead; the process that hosts it ends and the task is done elsewhere.
            FusionError: the caller gets it as it is; any other exception reaches it as an EngineError.
        """
        ...


class WorkerSpec(Protocol):
    """Picklable description of a worker."""

    def open(self, placement: Placement) -> AbstractContextManager[Session]: ...


class TrainSpec(Protocol):
    """Picklable description of a training job; `run` is called in each training process, again after a restart."""

    @property
    def folder(self) -> str:
        """Path or URL of a folder that driver and training processes see; the runtime may write there too."""
        ...

    def run(self, rank: int, world_size: int) -> None: ...

    def pulse(self) -> object:
        """Something that differs whenever the job got further; asked for in the driver while it runs."""
        ...


class Tasks(Protocol):
    """The tasks of a `map`, with what to do when a worker dies."""

    def __iter__(self) -> Iterator[object]: ...

    def remaining(self, task: object) -> object | None:
        """What of a task is still to do after its worker died (some of it may be committed), or None."""
        ...


@runtime_checkable
class Batched(Protocol):
    """A task for an engine that works on many answers at a time: how many it asks for."""

    @property
    def num_answers(self) -> int: ...


def num_answers(task: object) -> int:
    """0 for a task that does not say."""
    return task.num_answers if isinstance(task, Batched) else 0


Waits = Callable[[int], None]
"""Told, whenever it may have changed, for how many GPUs workers wait because no node gave them yet."""


class Runtime(Protocol):
    """The three runtimes keep this contract; `tests/fusion/test_runtime.py` runs against each."""

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        """Run tasks on `placement.replicas` sessions, up to `placement.in_flight` outstanding at each, in any order.
        Of tasks that are `Batched`, a session may have fewer, as its engine takes `placement.max_sequences` answers.

        A session that dies, or stalls for `placement.stall_s`, is replaced, and `tasks.remaining` says what is left of
        the tasks it had. Closing the iterator ends the sessions; without tasks none is opened.

        Raises:
            EngineError: more than `placement.max_restarts` sessions died, or a worker raised.
        """
        ...

    def stream(
        self, workers: Sequence[tuple[WorkerSpec, Placement]], feed: Iterable[object], name: str
    ) -> Iterator[Done]:
        """Run every worker pool over a feed whose items appear over time; ends when the feed ends.

        Every item goes through every pool, in their order, so an item yields one `Done` a pool; `task_id` is the
        item's place in the feed. A pool has `placement.replicas` sessions; one that dies is replaced up to
        `placement.max_restarts` times and its items are done again. Closing the iterator ends the sessions.

        Raises:
            EngineError: a session died too often, nothing came back for `placement.stall_s`, or a worker raised.
            Exception: what the feed raised.
        """
        ...

    def train(self, spec: TrainSpec, placement: Placement, name: str) -> None:
        """Run a training job on `placement.replicas` processes, which see each other.

        Where one dies, or `spec.pulse` stays the same for `placement.stall_s`, all of them start again, up to
        `placement.max_restarts` times.

        Raises:
            EngineError: they died or stalled too often.
            FusionError: what one of them raised.
        """
        ...

    def telling(self, waits: Waits) -> Runtime:
        """The same runtime; `waits` is told of one call at a time: a map, a stream or a training."""
        ...

    def close(self) -> None: ...


class Lazy:
    """A runtime that starts when something is first asked of it: reading prompts must not wait for a cluster."""

    def __init__(self, make: Callable[[], Runtime]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._runtime: Runtime | None = None

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        return self._started().map(worker, tasks, placement, name)

    def stream(
        self, workers: Sequence[tuple[WorkerSpec, Placement]], feed: Iterable[object], name: str
    ) -> Iterator[Done]:
        return self._started().stream(workers, feed, name)

    def train(self, spec: TrainSpec, placement: Placement, name: str) -> None:
        self._started().train(spec, placement, name)

    def telling(self, waits: Waits) -> Runtime:
        return Lazy(lambda: self._started().telling(waits))

    def close(self) -> None:
        with self._lock:
            if self._runtime is not None:
                self._runtime.close()

    def _started(self) -> Runtime:
        with self._lock:
            if self._runtime is None:
                self._runtime = self._make()
            return self._runtime


_one_training = threading.Lock()
"""DeepSpeed and accelerate keep a process's training in its environment and in globals: two at once would mix."""


class InProcess:
    """Everything in this process: tests, debugging, machines without Ray. One session a worker; none is replaced."""

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        numbered = enumerate(tasks)
        first = next(numbered, None)
        if first is None:
            return
        with _opened(worker, placement) as session, ThreadPoolExecutor(placement.in_flight) as pool:
            waiting: dict[Future[Mapping[str, Receipt]], int] = {}
            try:
                for task_id, task in chain([first], numbered):
                    waiting[pool.submit(session.process, task)] = task_id
                    if len(waiting) >= placement.in_flight:
                        yield from _finished(waiting, name)
                while waiting:
                    yield from _finished(waiting, name)
            finally:
                pool.shutdown(cancel_futures=True)

    def stream(
        self, workers: Sequence[tuple[WorkerSpec, Placement]], feed: Iterable[object], name: str
    ) -> Iterator[Done]:
        with ExitStack() as stack:
            sessions = [stack.enter_context(_opened(worker, placement)) for worker, placement in workers]
            for task_id, item in enumerate(feed):
                for session in sessions:
                    try:
                        receipts = session.process(item)
                    except Exception as error:
                        raise surfaced(name, error) from error
                    yield Done(task_id, receipts)

    def train(self, spec: TrainSpec, placement: Placement, name: str) -> None:
        with _one_training:
            spec.run(rank=0, world_size=1)

    def telling(self, waits: Waits) -> Runtime:
        return self  # nothing here waits for nodes

    def close(self) -> None:
        """Sessions are closed by their `with` blocks."""


def surfaced(name: str, error: BaseException) -> FusionError:
    """What a caller gets for an exception of a session: ours as they are, others as an EngineError that names them."""
    if isinstance(error, FusionError):
        return error
    return EngineError(f"{name}: a worker raised {type(error).__name__}: {error}")


def _finished(waiting: dict[Future[Mapping[str, Receipt]], int], name: str) -> Iterator[Done]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        task_id = waiting.pop(future)
        if (error := future.exception()) is not None:
            raise surfaced(name, error) from error
        yield Done(task_id, future.result())


@contextmanager
def _opened(worker: WorkerSpec, placement: Placement) -> Iterator[Session]:
    """A session in this process. One opens at a time."""
    with ExitStack() as stack:
        with LOADING:
            session = stack.enter_context(worker.open(placement))
        yield session
