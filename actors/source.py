"""The actor that hosts one session of a worker: for a source, one replica of its engine."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping

from actors.seat import Seat, demand_memory, take_seat
from fusion.artifact import Receipt
from fusion.errors import EngineError
from fusion.runtime import WorkerSpec
from fusion.step import Placement

ENGINE_DIED = 70
REPORT_S = 1.0

log = logging.getLogger(__name__)


class SourceActor:
    """One session, opened in the main thread (engines install signal handlers), used from `in_flight` threads."""

    def __init__(self, worker: WorkerSpec, placement: Placement) -> None:
        self._seat = take_seat(placement)
        self._failure: Exception | None = None
        try:
            demand_memory(self._seat.devices, placement)
            self._context = worker.open(placement)
            self._session = self._context.__enter__()
        except Exception as error:
            # Raised by `ready`: an exception here would reach the driver as text only.
            self._failure = error

    def ready(self) -> Seat:
        """The seat, once the session is open.

        Raises:
            Exception: what opening it raised.
        """
        if self._failure is not None:
            raise self._failure
        return self._seat

    def process(self, task: object) -> Mapping[str, Receipt]:
        """One task. An engine that died takes the process with it: nothing may be asked of a corpse."""
        try:
            return self._session.process(task)
        except EngineError:
            log.exception("the engine died; this process ends")
            threading.Timer(REPORT_S, os._exit, [ENGINE_DIED]).start()  # after the answer that says why has left
            raise

    def close(self) -> None:
        """Close the session, so that the engine gives back devices and ends its own processes."""
        self._context.__exit__(None, None, None)
