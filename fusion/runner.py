"""Runs a recipe: plans it, locks what it writes, runs what is not done, checks, seals.

Jobs (a step, or the steps of one gang) run in threads, as many at once as inputs and capacity allow. A job that
streams an input starts as soon as the job that writes it has started. What was committed before an error, an
interruption or a kill stays committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from fusion import lease, location
from fusion.artifact import Artifact, write_json
from fusion.costs.budget import REMEDY
from fusion.costs.held import held_gpus
from fusion.costs.meter import Meter
from fusion.errors import ConfigError, StepFailed
from fusion.gangs import jobs
from fusion.plan import Planned, Status, plan, plan_step
from fusion.provenance import provenance
from fusion.runtime import Lazy, Runtime
from fusion.step import Capacity, Step
from fusion.table import Table
from fusion.tree import TreeArtifact, TreeWriter
from fusion.work import Input, Work
from fusion.writer import ArtifactWriter

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Who wants to know; the terminal is one."""

    def planned(self, steps: Sequence[Planned]) -> None: ...
    def started(self, step: Step) -> None: ...
    def progress(self, step: Step, done: int, total: int) -> None: ...
    def sealed(self, step: Step, artifact: Artifact | TreeArtifact) -> None: ...
    def notice(self, text: str) -> None: ...


@dataclass
class Outcome:
    """Everything a run made or found, by step fingerprint, in plan order."""

    planned: list[Planned]
    artifacts: dict[str, Artifact | TreeArtifact] = field(default_factory=dict)

    def artifact(self, step: Step) -> Artifact | TreeArtifact:
        return self.artifacts[step.fingerprint]


class Runner:
    """One run over one store.

    Args:
        store: folder or URL of the store.
        runtime: makes the runtime; called only if there is something to do.
        meter: counts what is used, and says when that is too much; None: nothing is kept, and nothing is too much.
    """

    def __init__(
        self,
        store: str,
        runtime: Callable[[], Runtime],
        capacity: Capacity,
        listener: Listener,
        meter: Meter | None = None,
    ) -> None:
        self.store = store
        self.capacity = capacity
        self.listener = listener
        self._meter = meter or Meter()
        self._runtime = Lazy(runtime)
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._open: dict[str, ArtifactWriter | TreeWriter] = {}
        self._errors: list[tuple[Step, BaseException]] = []
        self._over_budget = ""

    def run(self, targets: Sequence[Step]) -> Outcome:
        """Make every target; see `carry_out`."""
        return self.carry_out(plan(self.store, targets))

    def carry_out(self, planned: Sequence[Planned]) -> Outcome:
        """Make every step of a plan of this store that is not done.

        Raises:
            StepFailed: a step could not be sealed; says which, why, and what is kept. Or the budget is used up.
            ConfigError: earlier runs used the budget up, and there is something to do.
            KeyboardInterrupt: passed on after workers were told to stop.
        """
        outcome = Outcome(list(planned))
        self.listener.planned(outcome.planned)
        for one in outcome.planned:
            if one.sealed is not None:
                outcome.artifacts[one.step.fingerprint] = one.sealed
        todo = jobs([one for one in outcome.planned if one.status is not Status.HIT])
        if not todo:
            return outcome
        if reached := self._meter.reached():
            raise ConfigError(f"{reached}; {REMEDY}")
        with self._meter.running(self._halt):
            try:
                self._run_jobs(todo, outcome)
            finally:
                self._stop.set()
                self._runtime.close()
        if self._over_budget and len(outcome.artifacts) < len(outcome.planned):
            raise StepFailed(f"{self._meter.reached()}; it was in {self._over_budget}; {REMEDY}")
        if self._errors:
            step, error = self._errors[0]
            raise StepFailed(f"{step.name}: {error}") from error
        return outcome

    def _halt(self, where: str) -> None:
        """End the run early, because of its budget; what it has committed stays."""
        with self._changed:
            if not self._stop.is_set():
                log.warning("the budget is used up in %s; the run stops", where)
                self._over_budget = where
                self._stop.set()
                self._changed.notify_all()

    # -- scheduling ----------------------------------------------------------------------------------------------

    def _run_jobs(self, todo: list[list[Planned]], outcome: Outcome) -> None:
        waiting, running = list(todo), dict[int, list[Planned]]()
        used = {"cpus": 0.0, "gpus": 0.0}

        def body(number: int, job: list[Planned], demand: tuple[float, float]) -> None:
            try:
                self._run_job([one.step for one in job], outcome)
            except BaseException as error:
                log.exception("%s failed", job[0].step.name)
                self._errors.append((job[0].step, error))
                self._stop.set()
            finally:
                with self._changed:
                    used["cpus"], used["gpus"] = used["cpus"] - demand[0], used["gpus"] - demand[1]
                    running.pop(number)
                    self._changed.notify_all()

        with self._changed:
            while waiting or running:
                if not self._stop.is_set():
                    for job in [job for job in _allowed(waiting, running.values()) if self._is_ready(job, outcome)]:
                        demand = _demand(job)
                        if running and not self._fits(demand, used):
                            continue
                        waiting.remove(job)
                        used["cpus"], used["gpus"] = used["cpus"] + demand[0], used["gpus"] + demand[1]
                        number = len(todo) - len(waiting)
                        thread = threading.Thread(target=body, args=(number, job, demand), name=job[0].step.name)
                        running[number] = job
                        thread.daemon = True
                        thread.start()
                elif not running:
                    return
                self._changed.wait(timeout=1.0)

    def _fits(self, demand: tuple[float, float], used: Mapping[str, float]) -> bool:
        return used["cpus"] + demand[0] <= self.capacity.cpus and used["gpus"] + demand[1] <= self.capacity.gpus

    def _is_ready(self, job: list[Planned], outcome: Outcome) -> bool:
        own = {one.step.fingerprint for one in job}
        for one in job:
            if any(gate.fingerprint not in outcome.artifacts for gate in one.step.after):
                return False
            for name, source in one.step.inputs.items():
                if source.fingerprint in own or source.fingerprint in outcome.artifacts:
                    continue
                if not (name in one.step.streams and source.fingerprint in self._open):
                    return False
        return True

    # -- one job -------------------------------------------------------------------------------------------------

    def _run_job(self, steps: Sequence[Step], outcome: Outcome) -> None:
        with ExitStack() as stack:
            works: list[Work] = []
            started = time.monotonic()
            for step in steps:
                work = stack.enter_context(self._opened(step, outcome))
                if work is not None:
                    works.append(work)
            if not works:
                return
            try:
                with self._meter.job(works) as waits:
                    works[0].step.run(works, self._runtime.telling(waits))
                    for work in works:
                        self._seal(work, outcome, time.monotonic() - started)
            except BaseException as error:
                for work in works:
                    work.out.close(str(error))
                raise

    @contextmanager
    def _opened(self, step: Step, outcome: Outcome) -> Iterator[Work | None]:
        """The step ready to run under its lease; None if another run sealed it while we waited for the lease."""
        path = location.join(self.store, step.folder)
        with lease.hold(path, self._stop.is_set, self.listener.notice) as check:
            inputs: dict[str, Input] = {}
            for name, source in step.inputs.items():
                inputs[name] = outcome.artifacts.get(source.fingerprint) or self._open[source.fingerprint]  # type: ignore[assignment]
            sealed_inputs = {n: a if isinstance(a, Artifact | TreeArtifact) else None for n, a in inputs.items()}
            now = plan_step(self.store, step, sealed_inputs)
            if now.sealed is not None:
                self._publish(step, now.sealed, outcome)
                yield None
                return
            if now.reason.startswith("input"):
                for name in ("parts", "drops", "manifest.json", "files", "work"):
                    location.remove(location.join(path, name))
            out = self._writer(path, step, now, check)
            with self._changed:
                self._open[step.fingerprint] = out
                self._changed.notify_all()
            self.listener.started(step)
            yield Work(step, inputs, out, lambda d, t: self.listener.progress(step, d, t), self._stop.is_set)

    def _writer(self, path: str, step: Step, now: Planned, check: Callable[[], None]) -> ArtifactWriter | TreeWriter:
        recipe = {"recipe": step.recipe, "row_fingerprint": step.row_fingerprint if step.row_local else None}
        write_json(location.join(path, "recipe.json"), recipe | {"label": step.label, "fingerprint": step.fingerprint})
        if isinstance(step.produces, Table):
            return ArtifactWriter(path, step.produces, list(now.siblings), check)
        return TreeWriter(path, check)

    def _seal(self, work: Work, outcome: Outcome, seconds: float) -> None:
        with self._changed:  # a streamed input ends a moment before it is published
            while any(step.fingerprint not in outcome.artifacts for step in work.step.inputs.values()):
                if self._stop.is_set():
                    raise StepFailed(f"{work.step.name}: stopped before its input was sealed")
                self._changed.wait(timeout=1.0)
        inputs = {name: outcome.artifacts[step.fingerprint].digest for name, step in work.step.inputs.items()}
        header = {
            "kind": work.step.kind,
            "label": work.step.label,
            "version": work.step.version,
            "fingerprint": work.step.fingerprint,
            "inputs": inputs,
            "seconds": round(seconds, 3),
            "provenance": provenance(),
        }
        self._publish(work.step, work.out.seal(header), outcome)

    def _publish(self, step: Step, artifact: Artifact | TreeArtifact, outcome: Outcome) -> None:
        with self._changed:
            outcome.artifacts[step.fingerprint] = artifact
            self._changed.notify_all()
        self.listener.sealed(step, artifact)


def _allowed(waiting: Sequence[list[Planned]], running: Iterable[list[Planned]]) -> list[list[Planned]]:
    """Waiting jobs that may start: the early ones alone until all of these are done."""
    early = [job for job in waiting if job[0].step.early]
    if early or any(job[0].step.early for job in running):
        return early
    return list(waiting)


def _demand(job: Sequence[Planned]) -> tuple[float, float]:
    placements = [one.step.placement for one in job]
    return max(p.replicas * p.cpus for p in placements), held_gpus(one.step for one in job)
