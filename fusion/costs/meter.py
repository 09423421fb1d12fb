"""Counts what a run uses while it runs: time, GPUs that its steps hold, money, tokens over time.

A thread looks at the clock several times a second and writes the account every two, so that a run that is killed
forgets two seconds at most. A step counts from the moment it has its lease, loading included; GPUs for which its
workers still wait are not held.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from fusion import location
from fusion.cluster_config import Price
from fusion.costs.account import Account, Pace, StepUse, Used, read_accounts, write_account
from fusion.costs.budget import RunBudget
from fusion.costs.endpoints import EndpointBill
from fusion.costs.held import held_gpus
from fusion.costs.pace_meter import PaceMeter
from fusion.errors import FusionError
from fusion.runtime import Waits
from fusion.work import Work
from fusion.writer import ArtifactWriter

TICK_S = 0.25
FLUSH_S = 2.0
MOST_TOLD = 4
"""Jobs that a message names."""

log = logging.getLogger(__name__)


class Meter:
    """One run's account, on top of what earlier runs of the experiment used.

    Args:
        folder: where accounts are kept, or None: nothing is kept.
        bill: what endpoints take.
    """

    def __init__(
        self,
        price: Price | None = None,
        budget: RunBudget | None = None,
        folder: str | None = None,
        bill: EndpointBill | None = None,
    ) -> None:
        self._price, self._budget = price or Price(), budget or RunBudget()
        self._bill = bill or EndpointBill([])
        self._folder, self._name = folder, f"{uuid.uuid4().hex}.json"
        self._lock = threading.Lock()
        self._jobs: list[_Job] = []
        self._settled = Account()
        self._total = Used()
        self._clock = self._flushed = time.monotonic()
        self._others = Account() if folder is None else read_accounts(folder)

    @contextmanager
    def running(self, halt: Callable[[str], None]) -> Iterator[None]:
        """Count for the length of the block; when the budget is used up, call `halt` with where the run stands."""
        end = threading.Event()
        self._clock = self._flushed = time.monotonic()
        self._bill.open()

        def watch() -> None:
            while not end.wait(TICK_S):
                self._tick()
                if time.monotonic() - self._flushed >= FLUSH_S:
                    self._flush()
                if self.reached():
                    halt(self._where())

        watcher = threading.Thread(target=watch, name="meter", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            end.set()
            watcher.join()
            self._tick()
            self._flush()

    @contextmanager
    def job(self, works: Sequence[Work]) -> Iterator[Waits]:
        """Steps that run together, for the length of the block, which says for how many of its GPUs it waits."""
        job = _Job(works)
        self._tick()
        with self._lock:
            self._jobs.append(job)

        def waits(gpus: int) -> None:
            self._tick()
            with self._lock:
                job.waiting = gpus

        try:
            yield waits
        finally:
            self._tick()
            with self._lock:
                self._jobs.remove(job)
                self._settled += job.account()

    def reached(self) -> str:
        """The limit that is used up, and by what; an empty string while there is room."""
        with self._lock:
            used = self._others.total + self._spent()
        limit = self._budget.passed(used)
        return f"{limit} used up: {used} in all runs of this experiment" if limit else ""

    def account(self) -> Account:
        """All that was used so far, by earlier runs too."""
        with self._lock:
            return self._others + self._own()

    # -- private -------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Share out the time since the last tick: GPUs, and what is paid for whole nodes, to who holds them; the head
        to all that run, alike."""
        with self._lock:
            now = time.monotonic()
            seconds, self._clock = now - self._clock, now
            head = self._price.usd(0, seconds / 3600)
            used = Used(seconds, 0.0, head)
            paid = self._price.paid(sum(job.held for job in self._jobs))
            for job in self._jobs:
                held = Used(0.0, job.held * seconds, self._price.usd(paid * job.held * seconds / 3600, 0))
                job.add(held + Used(seconds, 0.0, head / len(self._jobs)))
                used += held
            self._total += used

    def _where(self) -> str:
        with self._lock:
            return ", ".join(str(job) for job in self._jobs[:MOST_TOLD]) or "no step"

    def _spent(self) -> Used:
        return self._total + Used(usd=self._bill.usd())

    def _own(self) -> Account:
        own = Account(self._spent(), self._bill.usd())
        for part in (self._settled, *(job.account() for job in self._jobs)):
            own += part
        return own

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        try:
            self._bill.refresh()
            if self._folder is None:
                return
            with self._lock:
                own = self._own()
            write_account(location.join(self._folder, self._name), own)
            others = read_accounts(self._folder, but=self._name)
            with self._lock:
                self._others = others
        except (FusionError, OSError) as error:  # counting goes on in memory, and the run has troubles of its own
            log.warning("what this run has used cannot be written down now: %s", error)


class _Job:
    """Steps that run together, and what they used so far."""

    def __init__(self, works: Sequence[Work]) -> None:
        placement = works[0].step.placement
        self.waiting = 0
        self._gpus = held_gpus(work.step for work in works)
        self._works = works
        self._used = Used()
        self._rows = [_num_made(work) for work in works]
        self._engine = (placement.replicas, placement.gpus)
        self._pace = PaceMeter()

    def __str__(self) -> str:
        more = f" and {len(self._works) - 1} more" if len(self._works) > 1 else ""
        return f"{_standing(self._works[0])}{more}"

    @property
    def held(self) -> int:
        """GPUs; none where it waits for more than was counted: a pool takes the widest of its steps' placements."""
        return max(0, self._gpus - self.waiting)

    def add(self, used: Used) -> None:
        self._used += used
        tokens = sum(work.out.totals["num_tokens"] for work in self._works if isinstance(work.out, ArtifactWriter))
        self._pace.add(used.seconds, tokens)

    def account(self) -> Account:
        made = [_num_made(work) - before for work, before in zip(self._works, self._rows, strict=True)]
        windows = tuple(self._pace.windows)
        paces = (Pace(*self._engine, windows),) if windows else ()
        steps = {}
        for work, rows in zip(self._works, made, strict=True):
            part = rows / sum(made) if any(made) else 1 / len(made)
            steps[work.step.fingerprint] = StepUse(work.step.name, self._used.share(part), paces)
        return Account(steps=steps)


def _num_made(work: Work) -> int:
    """Rows that came out or were dropped, without those taken over from other artifacts."""
    return work.out.num_done - work.out.rows_reused if isinstance(work.out, ArtifactWriter) else 0


def _standing(work: Work) -> str:
    if isinstance(work.out, ArtifactWriter) and work.out.num_expected:
        return f"{work.step.name} ({work.out.num_done:,} of {work.out.num_expected:,} rows)"
    return work.step.name
