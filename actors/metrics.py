"""What a run tells Prometheus, through the exporter that Ray has on every node.

The driver knows it all from receipts, so workers are not slowed down: a map or a stream counts what it hears of, and
once a second it says how deep its queues are. Prometheus sees a name with `ray_` before it and, of a counter, `_total`
behind it; cluster/grafana/fusion.json shows each.

    run    name of the run                      step     kind/label of the artifact that rows were committed to
    work   name of the map or stream            kind     kind of that artifact: responses, rewards, ...
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ray.util.metrics import Counter, Gauge, Histogram, Metric

from actors.windows import IdleTime, Window
from fusion.artifact import Receipt

TELL_S = 1.0
MONEY_S = 5.0
TASK_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusion_rows_committed": ("Rows committed: responses, rewards, ...", ("run", "work", "step", "kind")),
    "fusion_tokens": ("Tokens of committed rows", ("run", "work", "step", "kind")),
    "fusion_rows_lost": ("Rows that did not go on", ("run", "work", "step", "reason")),
    "fusion_deaths": ("Processes that died or stalled and were replaced", ("run", "work")),
}
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusion_tokens_per_second": ("Over the last minute", ("run", "work")),
    "fusion_rows_per_second": ("Over the last minute", ("run", "work")),
    "fusion_in_flight": ("Units of work outstanding at a replica", ("run", "work", "replica")),
    "fusion_feed_backlog": ("Items that a stream has got and not finished", ("run", "work")),
    "fusion_idle_share": ("Share of the time of open sessions in which they had nothing to do", ("run", "work")),
    "fusion_usd": ("Cost so far in all runs of this name, at cluster.price and with what endpoints took", ("run",)),
}
HISTOGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusion_task_seconds": ("Time from taking a unit of work to its commit", ("run", "work")),
}


def exported() -> set[str]:
    """Names as Prometheus sees them."""
    plain = {f"ray_{name}" for name in GAUGES}
    return plain | {f"ray_{name}_total" for name in COUNTERS} | {f"ray_{name}_bucket" for name in HISTOGRAMS}


@dataclass(frozen=True)
class Queue:
    """One replica of a map at a moment. Example: Queue("generate a[0]", in_flight=64, is_open=True)"""

    replica: str
    in_flight: int
    is_open: bool


class RunMetrics:
    """All metrics of one run; made when Ray is there.

    Args:
        run: its name.
        usd: what it has cost so far; None: nothing is said of money.
    """

    def __init__(self, run: str, usd: Callable[[], float] | None = None) -> None:
        made: dict[str, Metric] = {name: Counter(name, text, tags) for name, (text, tags) in COUNTERS.items()}
        made |= {name: Gauge(name, text, tags) for name, (text, tags) in GAUGES.items()}
        made |= {name: Histogram(name, text, list(TASK_S), tags) for name, (text, tags) in HISTOGRAMS.items()}
        self._made = {name: metric.set_default_tags({"run": run}) for name, metric in made.items()}
        self._end = threading.Event()
        if usd is not None:
            threading.Thread(target=self._tell_money, args=(usd,), name="money", daemon=True).start()

    def add(self, name: str, value: float, **tags: str) -> None:
        """Ray refuses to add nothing."""
        if value > 0:
            self._made[name].inc(value, tags)

    def show(self, name: str, value: float, **tags: str) -> None:
        self._made[name].set(value, tags)

    def observe(self, name: str, value: float, **tags: str) -> None:
        self._made[name].observe(value, tags)

    def close(self) -> None:
        self._end.set()

    def _tell_money(self, usd: Callable[[], float]) -> None:
        """Says nothing where nothing has a price."""
        while True:
            if spent := usd():
                self.show("fusion_usd", spent)
            if self._end.wait(MONEY_S):
                return


class WorkMetrics:
    """What one map or stream says while it runs."""

    def __init__(self, run: RunMetrics, work: str) -> None:
        now = time.monotonic()
        self._run = run
        self._work = work
        self._tokens, self._rows = Window(now), Window(now)
        self._idle = IdleTime()
        self._replicas: set[str] = set()
        self._told = 0.0

    def heard(self, receipts: Mapping[str, Receipt]) -> None:
        """Count what a worker committed."""
        now = time.monotonic()
        for path, receipt in receipts.items():
            step = step_of(path)
            tags = {"work": self._work, "step": step, "kind": step.partition("/")[0]}
            rows = sum(part.rows for part in receipt.parts)
            self._run.add("fusion_rows_committed", rows, **tags)
            self._run.add("fusion_tokens", receipt.num_tokens, **tags)
            for reason, number in receipt.reasons.items():
                self._run.add("fusion_rows_lost", number, work=self._work, step=step, reason=reason)
            self._run.observe("fusion_task_seconds", receipt.seconds, work=self._work)
            self._tokens.add(now, receipt.num_tokens)
            self._rows.add(now, rows)

    def died(self) -> None:
        self._run.add("fusion_deaths", 1, work=self._work)

    def map_stands(self, queues: Sequence[Queue]) -> None:
        """How full the replicas of a map are; called at every turn of its loop, heard once a second."""
        now = time.monotonic()
        if now - self._told < TELL_S:
            return
        is_open = [queue for queue in queues if queue.is_open]
        self._idle.sample(now, sum(not queue.in_flight for queue in is_open), len(is_open))
        for queue in queues:
            self._replicas.add(queue.replica)
            self._run.show("fusion_in_flight", queue.in_flight, work=self._work, replica=queue.replica)
        self._tell(now, self._idle.share)

    def stream_stands(self, backlog: int, idle_share: float) -> None:
        """What a stream has still to do, and the share of time that its sessions had nothing to do."""
        now = time.monotonic()
        if now - self._told >= TELL_S:
            self._run.show("fusion_feed_backlog", backlog, work=self._work)
            self._tell(now, idle_share)

    def ended(self, is_stream: bool = False) -> None:
        """Nothing is queued any more; a gauge would keep its last value."""
        for replica in self._replicas:
            self._run.show("fusion_in_flight", 0, work=self._work, replica=replica)
        if is_stream:
            self._run.show("fusion_feed_backlog", 0, work=self._work)
        for name in ("fusion_tokens_per_second", "fusion_rows_per_second"):
            self._run.show(name, 0.0, work=self._work)

    def _tell(self, now: float, idle_share: float) -> None:
        self._told = now
        self._run.show("fusion_idle_share", idle_share, work=self._work)
        self._run.show("fusion_tokens_per_second", self._tokens.rate(now), work=self._work)
        self._run.show("fusion_rows_per_second", self._rows.rate(now), work=self._work)


def step_of(path: str) -> str:
    """`responses/gemma3_270m` of `s3://bucket/store/responses/gemma3_270m-0f3c5a`."""
    kind, _, folder = path.rstrip("/").rpartition("/")
    return f"{kind.rpartition('/')[2]}/{folder.rpartition('-')[0] or folder}"
