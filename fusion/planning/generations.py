"""From a recipe to what must be placed: what each source's engine has to answer; and whether each step fits."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from fusion.cluster_config import Layout
from fusion.errors import ConfigError
from fusion.planning import tokens
from fusion.planning.assumptions import Assumptions
from fusion.planning.forecast import Forecaster, forecast
from fusion.planning.options import Generation
from fusion.planning.placement import PlacementPlan, place, smallest_training
from fusion.planning.tokens import Load
from fusion.recipe import Recipe
from fusion.stages.generate import GenerateConfig
from fusion.step import Step, topological
from fusion.train.config import TrainingConfig


def generations(recipe: Recipe, assumed: Assumptions, done: Collection[str] = ()) -> list[Generation]:
    """What each source's engine has to answer, all its steps together; models of unknown shape are left out.

    Args:
        done: fingerprints of steps that are not to be done.
    """
    maker = _Generations(recipe, assumed)
    found: dict[str, Generation] = {}
    for step in topological(recipe.targets):
        job = None if step.fingerprint in done else maker.generation(step)
        if job is None:
            continue
        if job.name in found:
            both, more = found[job.name].load, job.load
            load = Load(both.rows + more.rows, both.read + more.read, both.written + more.written)
            found[job.name] = replace(found[job.name], load=load)
        else:
            found[job.name] = job
    return list(found.values())


def shapeless(recipe: Recipe, assumed: Assumptions, done: Collection[str] = ()) -> list[str]:
    """Sources that need GPUs, and of which no plan can be made because their models' shapes are not known."""
    maker = _Generations(recipe, assumed)
    left = [step for step in topological(recipe.targets) if step.fingerprint not in done]
    return list(dict.fromkeys(name for step in left if (name := maker.shapeless(step))))


def placed(recipe: Recipe, assumed: Assumptions, done: Collection[str] = ()) -> PlacementPlan:
    """The best placement of the sources on `cluster.capacity.gpus`.

    Raises:
        ConfigError: a source does not fit; says the smallest cluster on which all do. Or the plan is to lay a source
            whose shape is not known.
    """
    unknown = shapeless(recipe, assumed, done)
    if unknown and recipe.config.cluster.layout is Layout.PLANNED:
        raise ConfigError(
            f"cluster.layout=PLANNED cannot lay {', '.join(unknown)}: no shape is known. Say it in the model's yaml "
            f"(sources.{unknown[0]}.model.shape; others in conf/source/ show how), or type cluster.layout=GIVEN"
        )
    return place(generations(recipe, assumed, done), recipe.config.cluster.capacity.gpus, assumed)


def demand_room(recipe: Recipe, done: Collection[str] = ()) -> None:
    """Refuse a run of which a step cannot fit on its GPUs, before anything is started. Nothing is asked without GPUs.

    Raises:
        ConfigError: naming each step that does not fit, with the smallest size that does.
    """
    config = recipe.config
    gpus = config.cluster.capacity.gpus
    if not gpus:
        return
    placed(recipe, config.planning, done)
    forecasts = [one for one in forecast(recipe, config.planning) if one.fingerprint not in done]
    wrong = [f"{one.name}: {one.note}" for one in forecasts if not one.fits]
    wrong += [line for step in recipe.targets if step.fingerprint not in done and (line := _too_many(step, gpus))]
    if wrong:
        raise ConfigError("\n  ".join(["this does not fit on its GPUs:", *wrong, *_smallest(recipe)]))


def _too_many(step: Step, gpus: int) -> str:
    wanted = step.placement.replicas * step.placement.gpus
    if wanted <= gpus:
        return ""
    return (
        f"{step.name}: {step.placement.replicas} workers of {step.placement.gpus} GPUs are {wanted}, and "
        f"cluster.capacity.gpus is {gpus}; set cluster.pools.{step.kind}.replicas={gpus // step.placement.gpus or 1}"
    )


def _smallest(recipe: Recipe) -> list[str]:
    """The least number of training processes of each phase that does not fit as it is."""
    config, lines = recipe.config, []
    if config.target is None or config.target.model.shape is None:
        return []
    train: TrainingConfig
    for phase, train, roles in (("sft", config.train.sft, 1), ("preference", config.train.preference, 2)):
        for stage in (train.execution.zero_stage, 3):
            changed = replace(train, execution=replace(train.execution, zero_stage=stage))
            workers = smallest_training(config.target.model.shape, changed, roles, config.planning)
            if workers is not None:
                lines.append(f"training ({phase}) with zero_stage {stage} fits on {workers} GPUs or more")
                break
    return lines


class _Generations(Forecaster):
    def generation(self, step: Step) -> Generation | None:
        """The work of one step of a source on GPUs; None: it is something else, or its size is not known."""
        config = self._of_source(step)
        shape = None if config is None else self._shape(config.model)
        if config is None or shape is None:
            return None
        load = tokens.responses_load(self._domains(step.inputs["prompts"]), config.sampling)
        speed = self._assumed.tokens_per_s.get(config.source)
        serving, fixed = self._serving(step, config, shape), self._config.cluster.is_fixed(config.source)
        return Generation(config.source, shape, serving, load, step.placement, speed, fixed)

    def shapeless(self, step: Step) -> str:
        """The source of a step of answers on GPUs whose model's shape is not known; else an empty string."""
        config = self._of_source(step)
        return config.source if config is not None and self._shape(config.model) is None else ""

    def _of_source(self, step: Step) -> GenerateConfig | None:
        """Of a step at which a source's model answers on GPUs."""
        config = step.config
        if not isinstance(config, GenerateConfig) or config.model is None or not step.placement.gpus:
            return None
        return config if config.source in self._config.sources else None
