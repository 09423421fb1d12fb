"""One engine, asked by many threads.

The engine lives in a thread of its own, which opens it, steps it while anything is unfinished, and closes it: engines
are not thread-safe, and OpenMP's number of threads belongs to the thread that set it. Requests of all callers are in
the engine together, so its batch stays full between one caller's work and the next.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from fusion.errors import EngineError
from fusion.generators.base import Completion, Engine, Generator, Request
from fusion.step import Placement

Asked = tuple[Request, Future[Completion]]


class EngineLoop:
    """A context manager around a generator's engine.

    Raises (on entry):
        EngineError: the engine cannot be opened.
    """

    def __init__(self, generator: Generator, model: Path, placement: Placement) -> None:
        self._generator = generator
        self._model = model
        self._placement = placement
        self._inbox: queue.SimpleQueue[list[Asked] | None] = queue.SimpleQueue()
        self._open: dict[str, Future[Completion]] = {}
        self._lock = threading.Lock()
        self._broken: BaseException | None = None
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def __enter__(self) -> EngineLoop:
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._inbox.put(None)
        self._thread.join()

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions in the order of `requests`, whose ids are unique among all that are unfinished.

        Raises:
            EngineError: the engine is broken; every later call says so, too.
        """
        asked = [(request, Future[Completion]()) for request in requests]
        with self._lock:
            self._check()
            self._open |= {request.request_id: future for request, future in asked}
            self._inbox.put(asked)
        return [future.result() for _, future in asked]

    def _check(self) -> None:
        if self._broken is not None:
            raise EngineError(f"the engine is broken: {self._broken}") from self._broken

    def _run(self) -> None:
        try:
            with self._generator.open(self._model, self._placement) as engine:
                self._ready.set_result(None)
                self._serve(engine)
            self._fail(EngineError("the engine was closed"))
        except BaseException as error:
            self._fail(error)

    def _serve(self, engine: Engine) -> None:
        while True:
            for asked in self._arrived(wait=engine.num_unfinished == 0):
                if asked is None:
                    return
                for request, _ in asked:
                    engine.submit(request)
            for completion in engine.step():
                self._open.pop(completion.request_id).set_result(completion)

    def _arrived(self, wait: bool) -> list[list[Asked] | None]:
        arrived = [self._inbox.get()] if wait else []
        while not self._inbox.empty():
            arrived.append(self._inbox.get())
        return arrived

    def _fail(self, error: BaseException) -> None:
        known = error if isinstance(error, EngineError) else EngineError(f"{type(error).__name__}: {error}")
        with self._lock:
            self._broken = known
            left = list(self._open.values())
            self._open.clear()
        for future in left:
            future.set_exception(known)
        if not self._ready.done():
            self._ready.set_exception(known)
