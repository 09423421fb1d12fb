"""The actor of a Ray Data pool that hosts one session of a worker: for a reward, one copy of its model."""

from __future__ import annotations

import logging
import os

import pyarrow as pa
import ray
from ray import cloudpickle
from ray.actor import ActorHandle

from actors.feed import ROW
from actors.seat import demand_memory, take_seat
from actors.source import ENGINE_DIED
from fusion.errors import EngineError
from fusion.runtime import WorkerSpec
from fusion.step import Placement

log = logging.getLogger(__name__)


class RewardActor:
    """One session, used from one thread.

    What a worker raises travels as a row: raised here, Ray Data would report it at length and lose its type.
    """

    def __init__(self, worker: WorkerSpec, placement: Placement, feed: ActorHandle, pool: int) -> None:
        seat = take_seat(placement)
        context = ray.get_runtime_context()
        ray.get(feed.register.remote(context.current_actor, seat, pool))
        self._failure = b""
        self._note = f"a session died; {seat} took over" if context.was_current_actor_reconstructed else ""
        try:
            demand_memory(seat.devices, placement)
            self._context = worker.open(placement)
            self._session = self._context.__enter__()
        except Exception as error:
            self._failure = _pickled(error)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Rows of `feed.ROW` with this session's receipts added."""
        done = [self._process(row) for row in rows.to_pylist()]
        if self._note:
            done[0]["note"] = f"{done[0]['note']} {self._note}".strip()
            self._note = ""
        return pa.Table.from_pylist(done, schema=ROW)

    def _process(self, row: dict[str, object]) -> dict[str, object]:
        if row["error"]:
            return row
        if self._failure:
            return row | {"error": self._failure}
        try:
            receipts = self._session.process(cloudpickle.loads(row["item"]))
        except EngineError:
            log.exception("the engine died; this process ends")
            os._exit(ENGINE_DIED)  # Ray starts another and gives it what was asked of this one
        except Exception as error:
            return row | {"error": _pickled(error)}
        before = cloudpickle.loads(row["dones"]) if row["dones"] else []
        return row | {"dones": cloudpickle.dumps([*before, receipts])}


def _pickled(error: Exception) -> bytes:
    """An exception as bytes; one that does not survive pickling becomes an EngineError of the same words."""
    log.error("a worker raised", exc_info=error)
    try:
        data = bytes(cloudpickle.dumps(error))
        cloudpickle.loads(data)
    except Exception:
        return bytes(cloudpickle.dumps(EngineError(f"a worker raised {type(error).__name__}: {error}")))
    return data
