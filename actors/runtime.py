"""The protocol of `fusion.runtime` on Ray: sources are actors, streams are Ray Data, training is Ray Train.

Several maps and a stream may run at a time, each from its own thread of the driver.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from actors.cluster import connect
from actors.dispatch import dispatch
from actors.metrics import RunMetrics
from actors.stream import stream
from fusion.cluster_config import RayConfig
from fusion.runtime import Done, Runtime, Tasks, TrainSpec, Waits, WorkerSpec
from fusion.step import Placement

log = logging.getLogger(__name__)


def _untold(gpus: int) -> None:
    """Nobody counts GPUs."""


class RayRuntime:
    """A connection to Ray, from construction to `close`.

    Args:
        notice: gets the lines that say what is waited for; by default they go to the log.
        run: name of the run, for the metrics.
        usd: what the run has cost so far; None: nothing is said of money.

    Raises:
        ConfigError: no Ray answers at `config.address`.
        EngineError: a Ray of our own did not start.
    """

    def __init__(
        self,
        config: RayConfig,
        notice: Callable[[str], None] = log.warning,
        run: str = "",
        usd: Callable[[], float] | None = None,
    ) -> None:
        self._config = config
        self._notice = notice
        self._connection = connect(config)
        self._metrics = RunMetrics(run, usd)
        self._waits: Waits = _untold

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        return dispatch(worker, tasks, placement, name, self._config, self._notice, self._metrics, self._waits)

    def stream(
        self, workers: Sequence[tuple[WorkerSpec, Placement]], feed: Iterable[object], name: str
    ) -> Iterator[Done]:
        return stream(workers, feed, name, self._config, self._notice, self._metrics, self._waits)

    def train(self, spec: TrainSpec, placement: Placement, name: str) -> None:
        from actors.trainer import fit  # Ray Train and DeepSpeed load only where something is trained

        fit(spec, placement, name, self._config, self._notice, self._waits)

    def telling(self, waits: Waits) -> Runtime:
        told = copy.copy(self)  # one connection, several who use it
        told._waits = waits
        return told

    def close(self) -> None:
        """Leave Ray; one that was started here ends, with all its processes."""
        self._metrics.close()
        self._connection.disconnect()
