"""Memory of a machine that engines on its CPUs take."""

from __future__ import annotations

from collections.abc import Collection

from fusion.planning.forecast import Forecaster
from fusion.planning.memory import GIB
from fusion.recipe import Recipe
from fusion.stages.generate import GenerateConfig
from fusion.step import Step, topological


def least_host_gib(recipe: Recipe, done: Collection[str] = ()) -> float:
    """A lower bound: weights and KV cache of the largest source that answers on CPUs, all its engines together.

    What runs beside it, programs and activations come on top.

    Args:
        done: fingerprints of steps that are not to be done.
    """
    maker = _Engines(recipe, recipe.config.planning)
    left = (step for step in topological(recipe.targets) if step.fingerprint not in done)
    return max((maker.gib(step) for step in left), default=0.0)


class _Engines(Forecaster):
    def gib(self, step: Step) -> float:
        config = step.config
        if not isinstance(config, GenerateConfig) or config.model is None or step.placement.gpus:
            return 0.0
        shape = self._shape(config.model)
        if shape is None:
            return 0.0
        weights = shape.weight_bytes(self._serving(step, config, shape).weights_dtype) / GIB
        return step.placement.replicas * (weights + step.placement.kv_cache_gib)
