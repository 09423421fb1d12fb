"""How many GPUs a job holds while it runs."""

from __future__ import annotations

from collections.abc import Iterable

from fusion.step import Step


def held_gpus(steps: Iterable[Step]) -> int:
    """Of the steps of one gang: they share an engine, but each reward model has a pool of its own."""
    pools: dict[str, int] = {}
    for step in steps:
        pool = repr(getattr(step.config, "reward", None))
        pools[pool] = max(pools.get(pool, 0), step.placement.replicas * step.placement.gpus)
    return sum(pools.values())
