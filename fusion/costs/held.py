"""How many GPUs a job holds while it runs."""

from __future__ import annotations

from collections.abc import Iterable

from fusion.step import Step


def held_gpus(steps: Iterable[Step]) -> int:
    """Of the steps of one gang: they share an engine, but each reward model has a pool of its own."""
    pools: dict[str, int] = {}
    for step in steps:
        pools[pool_of(step)] = max(pools.get(pool_of(step), 0), step.placement.replicas * step.placement.gpus)
    return sum(pools.values())


def pool_of(step: Step) -> str:
    """The workers of its gang at which a step runs: those of its reward, or the one engine."""
    return repr(getattr(step.config, "reward", None))
