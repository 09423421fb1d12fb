"""A feed that grows while it is read: the items a stream runs over, from the driver's thread into Ray Data.

The feed is a log, not a queue: reading does not consume. A read task that Ray runs again (its node died, a block was
lost) reads the same items at the same places, so nothing is lost and nothing is renumbered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pyarrow as pa
import ray
from ray.actor import ActorHandle
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.context import DataContext
from ray.data.datasource import ReadTask

from actors.seat import Seat
from fusion.errors import EngineError

ROW = pa.schema(
    [
        ("task_id", pa.int64()),
        ("item", pa.binary()),
        ("dones", pa.binary()),  # a receipt for each artifact, of each pool that the item went through so far
        ("error", pa.binary()),  # the exception that ends the stream
        ("note", pa.string()),  # for the log
    ]
)
"""What flows. The binaries are pickled: they are read only inside this Ray cluster, which executes pickles anyway."""


class Feed:
    """The actor that holds the items, and the register of who works on them.

    Args:
        num_sessions: how many work on them at a time; each further one that registers replaces one that died.
        max_restarts: how many may be replaced.
    """

    def __init__(self, num_sessions: int, max_restarts: int) -> None:
        self._num_sessions = num_sessions
        self._max_restarts = max_restarts
        self._items: list[bytes] = []
        self._ended = False
        self._aborted = False
        self._changed = asyncio.Condition()
        self._seats: list[tuple[ActorHandle, Seat]] = []
        self._pools: dict[str, int] = {}

    async def append(self, item: bytes) -> None:
        async with self._changed:
            self._items.append(item)
            self._changed.notify_all()

    async def end(self) -> None:
        """No more items will come."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def abort(self) -> list[tuple[ActorHandle, Seat]]:
        """Nobody wants the rest: readers and newcomers fail from now on. Returns everybody registered."""
        async with self._changed:
            self._aborted = True
            self._changed.notify_all()
        return self._seats

    async def after(self, index: int) -> list[bytes]:
        """Items from `index` on, at least one; waits for it. Empty: the feed has ended.

        Raises:
            EngineError: the stream was aborted.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._items) > index or self._ended or self._aborted)
        if self._aborted:
            raise EngineError("the stream was ended by its reader")
        return self._items[index:]

    async def members(self) -> dict[str, int]:
        """Ids of the actors that registered, each with its pool."""
        return self._pools

    async def register(self, actor: ActorHandle, seat: Seat, pool: int) -> None:
        """Remember who works on the items, and in which pool, so that the driver can see them gone.

        Raises:
            EngineError: the stream was aborted, or too many died before; the newcomer must not start.
        """
        deaths = len(self._seats) - self._num_sessions
        if deaths >= self._max_restarts and deaths >= 0:
            raise EngineError(f"{deaths + 1} sessions died, more than placement.max_restarts ({self._max_restarts})")
        if self._aborted:
            raise EngineError("the stream was ended by its reader")
        self._seats.append((actor, seat))
        self._pools[actor._actor_id.hex()] = pool


class FeedSource(Datasource):  # type: ignore[misc]  # Ray ships no types
    """The feed as a Ray Data source: one read task, one block an item, each as soon as it is there."""

    def __init__(self, feed: ActorHandle) -> None:
        super().__init__()
        self._feed = feed

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: DataContext | None = None
    ) -> list[ReadTask]:
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        feed = self._feed
        return [ReadTask(lambda: _blocks(feed), unknown, schema=ROW)]


def _blocks(feed: ActorHandle) -> Iterator[pa.Table]:
    index = 0
    while items := ray.get(feed.after.remote(index)):
        for item in items:
            row = {"task_id": index, "item": item, "dones": b"", "error": b"", "note": ""}
            yield pa.Table.from_pylist([row], schema=ROW)
            index += 1
