"""How long a run takes from start to end: its jobs are started as the runner starts them, and each takes as long as it
is forecast to."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fusion.costs.held import held_gpus, pool_of
from fusion.gangs import jobs
from fusion.plan import Planned, Status
from fusion.planning.step_forecast import StepForecast
from fusion.stages.trust import TrustStepConfig
from fusion.step import Capacity, Step


@dataclass(frozen=True, slots=True)
class _Running:
    steps: Sequence[Step]
    end: float
    cpus: float
    gpus: int


def wall_hours(
    steps: Sequence[Step], forecasts: Mapping[str, StepForecast], capacity: Capacity, done: Collection[str] = ()
) -> float | None:
    """From the start to the end of the last step, loading engines included and waiting for nodes not; None: of a step
    it is not known how long it takes.

    Args:
        steps: inputs first.
        forecasts: by fingerprint.
    """
    left = [Planned(step, Status.NEW, None, "") for step in steps if step.fingerprint not in done]
    if any(forecasts[one.step.fingerprint].hours is None for one in left):
        return None
    waiting = [[one.step for one in job] for job in jobs(left)]
    running: list[_Running] = []
    ended, opened, now = set(done), set[str](), 0.0
    while waiting or running:
        for job in list(waiting):
            one = _started(job, running, forecasts, now)
            if not _is_ready(job, ended, opened) or (running and not _fits([*running, one], capacity)):
                continue
            waiting.remove(job)
            running.append(one)
            opened.update(step.fingerprint for step in job)
        first = min(running, key=lambda one: one.end)
        running.remove(first)
        now = first.end
        ended.update(step.fingerprint for step in first.steps)
    return now


def _started(
    job: Sequence[Step], running: Sequence[_Running], forecasts: Mapping[str, StepForecast], now: float
) -> _Running:
    """The steps of one pool come one after another, pools side by side; what reads a stream ends after it, but for a
    gate, which reads a sample."""
    pools: dict[str, float] = {}
    for step in job:
        pools[pool_of(step)] = pools.get(pool_of(step), 0.0) + (forecasts[step.fingerprint].hours or 0.0)
    load = max(forecasts[step.fingerprint].load_hours for step in job)
    whole = [step for step in job if not isinstance(step.config, TrustStepConfig)]
    read = {source.fingerprint for step in whole for source in step.inputs.values()}
    streams = [one.end for one in running if any(step.fingerprint in read for step in one.steps)]
    end = max([now + load + max(pools.values()), *streams])
    cpus = max(step.placement.replicas * step.placement.cpus for step in job)
    return _Running(job, end, cpus, held_gpus(job))


def _is_ready(job: Sequence[Step], ended: Collection[str], opened: Collection[str]) -> bool:
    own = {step.fingerprint for step in job}
    return all(
        source.fingerprint in ended
        or source.fingerprint in own
        or (name in step.streams and source.fingerprint in opened)
        for step in job
        for name, source in step.inputs.items()
    ) and all(gate.fingerprint in ended for step in job for gate in step.after)


def _fits(running: Sequence[_Running], capacity: Capacity) -> bool:
    used = sum(one.cpus for one in running), sum(one.gpus for one in running)
    return used[0] <= capacity.cpus and used[1] <= capacity.gpus
