"""What a recipe is built on: the steps by name, what the config must say before one is made, models and placements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, TypeVar, Unpack

from fusion.config import Config, EvaluationConfig, TargetConfig
from fusion.errors import ConfigError
from fusion.generators.base import Generator
from fusion.models import ModelRef
from fusion.objectives.base import Objective
from fusion.prompts.base import Prompts
from fusion.runtime import Runtime
from fusion.selection.base import Selection
from fusion.step import Placement, Step, Tree
from fusion.table import Table
from fusion.work import Work

T = TypeVar("T")
StepRun = Callable[[Sequence[Work], Runtime], None]


class More(TypedDict, total=False):
    """What a step may say beyond what it makes from what; see `fusion.step.Step`."""

    row_local: bool
    by_content: frozenset[str]
    early: bool
    streams: frozenset[str]
    after: tuple[Step, ...]
    gang: str
    placement: Placement
    version: int


@dataclass
class Steps:
    """Steps by name, in the order they were written down. Names are `responses/gemma3_270m`, `pairs/train`, ..."""

    config: Config
    steps: dict[str, Step] = field(default_factory=dict)

    @property
    def targets(self) -> list[Step]:
        return list(self.steps.values())

    # What a recipe needs and a config may lack: each refused by name before anything starts.

    @property
    def target(self) -> TargetConfig:
        return _needed(self.config.target, "target", "target=smollm2_135m (conf/target/ lists them)")

    @property
    def prompts(self) -> Prompts:
        return _needed(self.config.prompts, "prompts", "prompts=easy_reasoning (conf/prompts/ lists them)")

    @property
    def selection(self) -> Selection:
        return _needed(self.config.selection, "selection", "selection=correct_vs_wrong")

    @property
    def objective(self) -> Objective:
        return _needed(self.config.objective, "objective", "objective=ln_dpo")

    @property
    def evaluation(self) -> EvaluationConfig:
        return _needed(self.config.evaluation, "evaluation", "prompts@evaluation.prompts=... evaluation.reward=...")

    def _step(
        self,
        kind: str,
        label: str,
        run: StepRun,
        config: object,
        produces: Table | Tree,
        inputs: Mapping[str, Step],
        **more: Unpack[More],
    ) -> Step:
        step = Step(kind=kind, label=label, run=run, config=config, produces=produces, inputs=inputs, **more)
        self.steps[step.name] = step
        return step

    def _model(self, name: str) -> tuple[ModelRef, Generator]:
        source = self.config.sources.get(name)
        if source is None or source.model is None:
            return self.target.model, self.config.generator
        return source.model, source.generator or self.config.generator

    def _placement(self, kind: str, label: str) -> Placement:
        return self.config.cluster.placement(kind, label)


def _needed(value: T | None, key: str, example: str) -> T:
    if value is None:
        raise ConfigError(f"this recipe needs {key}, which is not set; type e.g. {example}")
    return value
