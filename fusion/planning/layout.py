"""The sources of a run on the engines that its plan finds best, and its judges beside them, where `cluster.layout` asks
for it.

A placement bears no identity: what is done of a step stays done when the step is laid otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from fusion.cluster_config import Layout
from fusion.costs.account import Account
from fusion.costs.held import held_gpus
from fusion.pipeline import build
from fusion.plan import Planned, done
from fusion.planning.generations import placed
from fusion.planning.prospect import prospect
from fusion.recipe import Recipe
from fusion.stages.score import ScoreConfig
from fusion.step import Placement, Step, topological


@dataclass(frozen=True)
class Laid:
    """A recipe and its plan, with every step where it is to run."""

    recipe: Recipe
    planned: list[Planned]
    notice: str = ""
    """What the plan decided; empty: nothing."""


def laid_out(recipe: Recipe, planned: Sequence[Planned], spent: Account) -> Laid:
    """The same steps, those of sources and judges as the plan has them.

    Args:
        spent: by earlier runs of the experiment.

    Raises:
        ConfigError: a source does not fit; says what would.
    """
    pools = planned_pools(recipe, spent, done(planned))
    if not pools:
        return Laid(recipe, list(planned))
    config = recipe.config
    fresh = build(replace(config, cluster=replace(config.cluster, pools={**config.cluster.pools, **pools})))
    steps = {step.fingerprint: step for step in topological(fresh.targets)}
    return Laid(fresh, [replace(one, step=steps[one.step.fingerprint]) for one in planned], _notice(pools))


def planned_pools(recipe: Recipe, spent: Account, made: Collection[str]) -> dict[str, Placement]:
    """By source and by reward that a model gives; empty where the pools decide.

    Args:
        made: fingerprints of the steps that are not to be done.
    """
    cluster = recipe.config.cluster
    if cluster.layout is Layout.GIVEN or not cluster.capacity.gpus:
        return {}
    plan = placed(recipe, prospect(recipe, spent, made).assumed, made)
    pools = {
        slot.name: replace(cluster.placement("responses", slot.name), **slot.settings) for slot in plan.slots
    } | _reward_pools(recipe, made, cluster.capacity.gpus - plan.most_gpus)
    return {name: pool for name, pool in pools.items() if not cluster.is_fixed(name)}


def _reward_pools(recipe: Recipe, made: Collection[str], beside: int) -> dict[str, Placement]:
    """As many judges as there are GPUs `beside` the sources; where none fits there, they come when sources are done,
    and share all GPUs."""
    pools: dict[str, Placement] = {}
    gangs: dict[str, list[Step]] = {}
    for step in topological(recipe.targets):
        if isinstance(step.config, ScoreConfig) and step.placement.gpus and step.fingerprint not in made:
            pools[step.config.name] = replace(step.placement, replicas=1)
            gangs.setdefault(step.gang, []).append(replace(step, placement=pools[step.config.name]))
    if not pools:
        return {}
    needed = [held_gpus(gang) for gang in gangs.values()]
    replicas = beside // max(needed) or max(1, recipe.config.cluster.capacity.gpus // sum(needed))
    return {name: replace(pool, replicas=replicas) for name, pool in pools.items()}


def _notice(pools: Mapping[str, Placement]) -> str:
    """`cluster.layout=PLANNED; workers x GPUs: qwen25_72b 8 x 4, gemma2_27b 16 x 2`"""
    told = [f"{name} {pool.replicas} x {pool.gpus}" for name, pool in pools.items()]
    return f"cluster.layout=PLANNED; workers x GPUs: {', '.join(told)}"
