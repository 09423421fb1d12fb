"""Ray Data streams a growing feed through pools of actors, and the receipts back to the driver as they come.

Ray Data owns the flow between feed and pools, the driver owns the ends: a pump thread writes the feed, a reader thread
iterates the data set, and the caller's generator watches both, so that it can notice silence and leave at any time.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray
from ray import cloudpickle
from ray.actor import ActorHandle
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.exceptions import RayError

from actors.failure import to_raise
from actors.feed import Feed, FeedSource
from actors.metrics import RunMetrics, WorkMetrics
from actors.replica import wanted
from actors.reward import RewardActor
from actors.seat import beside_driver, wait_until_gone, waits_for_node
from actors.wait import Wait
from actors.windows import BusyTime
from fusion.cluster_config import RayConfig
from fusion.errors import EngineError
from fusion.runtime import Done, Waits, WorkerSpec
from fusion.step import Placement

TICK_S = 1.0
LOOK_S = 3.0
"""Between two looks at who has a place; each session costs a call to the head."""
GONE_S = 60.0
AHEAD = 4
"""Items given to a session ahead of its work: hides Ray Data's scheduling, some 20 ms an item on two busy cores."""

_context_lock = threading.Lock()

log = logging.getLogger(__name__)


def stream(
    workers: Sequence[tuple[WorkerSpec, Placement]],
    feed: Iterable[object],
    name: str,
    config: RayConfig,
    notice: Callable[[str], None],
    metrics: RunMetrics,
    waits: Waits,
) -> Iterator[Done]:
    """See `fusion.runtime.Runtime.stream`."""
    placements = [placement for _, placement in workers]
    num_sessions = sum(placement.replicas for placement in placements)
    budget = max(placement.max_restarts for placement in placements)
    actor = ray.remote(Feed).options(num_cpus=0, label_selector=beside_driver()).remote(num_sessions, budget)
    pools = [
        _Pool(p.replicas, p.gpus, Wait(name, [wanted(p, config.cpu_share)], config.resource_wait_s, notice))
        for p in placements
    ]
    told = WorkMetrics(metrics, name)
    running = _Stream(actor, name, pools, max(placement.stall_s for placement in placements), told, waits)
    try:
        rows = _dataset(actor, workers, config)
        running.start(feed, rows)
        yield from running.dones()
    finally:
        told.ended(is_stream=True)
        waits(0)
        running.stop()


def _dataset(feed: ActorHandle, workers: Sequence[tuple[WorkerSpec, Placement]], config: RayConfig) -> Dataset:
    """The feed through every pool; nothing runs yet."""
    with _context_lock, DataContext.current(_settings()):
        # The reader only waits, so it asks for nothing, and where it sits it keeps no node up and is lost with none.
        rows = ray.data.read_datasource(
            FeedSource(feed), num_cpus=0, label_selector=beside_driver(), override_num_blocks=1
        )
        for pool, (worker, placement) in enumerate(workers):
            rows = rows.map_batches(
                RewardActor,
                fn_constructor_args=(worker, placement, feed, pool),
                batch_size=1,  # one item, which is one block; Ray Data refuses "whole blocks" where GPUs are asked for
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=placement.replicas, max_tasks_in_flight_per_actor=AHEAD),
                num_cpus=placement.cpus * config.cpu_share,
                num_gpus=placement.gpus,
            )
        return rows


def _settings() -> DataContext:
    settings = DataContext.get_current().copy()
    # Small blocks are otherwise gathered to 128 MiB and nothing flows before the feed ends.
    settings.target_max_block_size = 1
    settings.target_min_block_size = 0
    # A feed may be silent for hours while a slow source answers; silence of our own workers is noticed by `stall_s`.
    settings.execution_no_progress_timeout_s = -1
    settings.enable_progress_bars = False
    settings.print_on_execution_start = False
    return settings


@dataclass
class _Pool:
    """How many sessions a pool has, the GPUs of each, and the wait for their nodes."""

    size: int
    gpus: int
    wait: Wait


class _Stream:
    """The two threads of one stream and what they report."""

    def __init__(
        self, feed: ActorHandle, name: str, pools: Sequence[_Pool], stall_s: float, told: WorkMetrics, waits: Waits
    ) -> None:
        self._feed = feed
        self._name = name
        self._pools = pools
        self._looked = time.monotonic()
        self._placed = Counter[int]()
        self._stall_s = stall_s
        self._told = told
        self._waits = waits
        self._busy = BusyTime(sum(pool.size for pool in pools))
        self._arrived: queue.Queue[pa.Table | BaseException | None] = queue.Queue()
        self._fed = 0
        self._stopped = threading.Event()
        self._reader: threading.Thread | None = None

    def start(self, feed: Iterable[object], rows: Dataset) -> None:
        threading.Thread(target=self._pump, args=(feed,), name=f"feed {self._name}", daemon=True).start()
        self._reader = threading.Thread(target=self._read, args=(rows,), name=f"stream {self._name}", daemon=True)
        self._reader.start()

    def dones(self) -> Iterator[Done]:
        """Receipts as they come, until the feed has ended and every item of it came back."""
        num_done, heard = 0, time.monotonic()
        while True:
            is_placed = self._look_for_places()
            self._told.stream_stands(self._fed - num_done, self._busy.idle_share(time.monotonic()))
            try:
                arrived = self._arrived.get(timeout=TICK_S)
            except queue.Empty:
                if self._fed == num_done or not is_placed:
                    heard = time.monotonic()  # nothing was asked, or nodes start: nobody is silent
                elif time.monotonic() - heard > self._stall_s:
                    raise EngineError(
                        f"{self._name}: {self._fed - num_done} items are in work and nothing came back for "
                        f"{self._stall_s:g} s (placement.stall_s)"
                    ) from None
                continue
            if arrived is None:
                return
            if isinstance(arrived, BaseException):
                raise arrived
            for row in arrived.to_pylist():
                yield from self._dones_of(row)
                num_done += 1
            heard = time.monotonic()

    def stop(self) -> None:
        """End the flow, kill the pools, and see that they are gone.

        Raises:
            EngineError: naming what is still there.
        """
        self._stopped.set()
        seats = ray.get(self._feed.abort.remote())
        for actor, _ in seats:
            ray.kill(actor)
        if self._reader is not None:
            self._reader.join(GONE_S)
        ray.kill(self._feed)
        for _, seat in seats:
            wait_until_gone(seat, self._name, GONE_S)

    # -- private -------------------------------------------------------------------------------------------------

    def _look_for_places(self) -> bool:
        """Whether each pool has a session that waits for no node; looked up every few seconds.

        A session that ended by itself is none that waits: Ray Data lets a pool go when its last item has left it.

        Raises:
            EngineError: one had none for `resource_wait_s`.
        """
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            members = ray.get(self._feed.members.remote())
            self._placed = Counter(pool for actor_id, pool in members.items() if not waits_for_node(actor_id))
            missing = [pool.size - min(self._placed[number], pool.size) for number, pool in enumerate(self._pools)]
            self._waits(sum(few * pool.gpus for few, pool in zip(missing, self._pools, strict=True)))
            for few, pool in zip(missing, self._pools, strict=True):
                pool.wait.update(few, pool.size)
        return all(self._placed[number] for number in range(len(self._pools)))

    def _dones_of(self, row: dict[str, object]) -> Iterator[Done]:
        task_id = row["task_id"]
        assert isinstance(task_id, int)
        if row["note"]:
            self._told.died()
            log.warning("%s: %s", self._name, row["note"])
        if row["error"]:
            error = cloudpickle.loads(row["error"])
            raise to_raise(self._name, error) from error
        for receipts in cloudpickle.loads(row["dones"]):
            self._told.heard(receipts)
            for receipt in receipts.values():
                self._busy.add(time.monotonic(), receipt.seconds)
            yield Done(task_id, receipts)

    def _pump(self, feed: Iterable[object]) -> None:
        try:
            for item in feed:
                if self._stopped.is_set():
                    return
                self._fed += 1
                ray.get(self._feed.append.remote(cloudpickle.dumps(item)))
            ray.get(self._feed.end.remote())
        except BaseException as error:
            self._arrived.put(error)  # the feed's own exception is the caller's; after `stop` nobody reads it

    def _read(self, rows: Dataset) -> None:
        batches = rows.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        try:
            for batch in batches:
                self._arrived.put(batch)
            self._arrived.put(None)
        except Exception as error:
            if not self._stopped.is_set():
                self._arrived.put(_ended(self._name, error))


def _ended(name: str, error: Exception) -> EngineError:
    """What Ray Data's failure means; its own account of it stands in the log."""
    log.error("%s: %s", name, error)
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = lines[-1] if lines else type(error).__name__  # the last line of a remote traceback says what was raised
    kind = "a worker died too often" if isinstance(error, RayError) else "the stream broke"
    return EngineError(f"{name}: {kind}: {reason}. What is committed is kept; the same command goes on from there")
