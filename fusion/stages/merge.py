"""Merging: checkpoints of one architecture become one, in weight space: models or checkpoints -> checkpoint.

Models that are configured (hub, package, folder) are prepared on every machine that merges; checkpoints of earlier
steps (FuseChat's pairwise models) are inputs, `model:<name>`, and lie in the store.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

from fusion import location
from fusion.errors import StepFailed
from fusion.merging import folder as merging
from fusion.merging.base import MergeMethod
from fusion.merging.folder import Merge, MergeOutput
from fusion.merging.matching import Checkpoint
from fusion.merging.stream import Place
from fusion.modelfiles import DEFAULT_CACHE
from fusion.models import ModelRef
from fusion.runtime import InProcess, Runtime
from fusion.work import Work

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class MergeConfig:
    """The step's config."""

    method: MergeMethod
    base: ModelRef
    models: dict[str, ModelRef | None]
    """By name. null: the step's input of that name."""
    order: list[str]
    """Names in the order in which per-model numbers of the method count."""
    output: MergeOutput
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on each machine."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Merge each work's models. An interrupted merge starts again: merging is as fast as copying.

    Raises:
        ConfigError: the models cannot be merged; says why.
        StepFailed: the run was stopped.
    """
    for work in works:
        config, files = work.step.config, work.files_out.files
        assert isinstance(config, MergeConfig)
        shutil.rmtree(files, ignore_errors=True)
        merge = _merge(work, config)
        log.info("merging %s around %s", ", ".join(config.order), config.base.uri)
        # Workers write into places of one file, which an object store has not: the driver merges, and sends it.
        merges = runtime if location.is_local(work.files_out.place) else InProcess()
        notices = merging.run(
            merge, files, merges, work.step.placement, work.step.name, progress=work.progress, stopped=work.stopped
        )
        if work.stopped():
            raise StepFailed(f"{work.step.name}: stopped; the same command starts it again")
        for notice in notices:
            log.warning("%s", notice)
        work.files_out.metrics["notices"] = list(notices)


def _merge(work: Work, config: MergeConfig) -> Merge:
    places = [Place(config.base, config.cache)]
    for name in config.order:
        ref = config.models[name]
        made = work.model_in(f"model:{name}").place if ref is None else ref
        places.append(Place(made, config.cache))
    names = ("base", *config.order)
    found = [Checkpoint(name, place.folder) for name, place in zip(names, places, strict=True)]

    base, *models = found

    def method(tensor: str) -> MergeMethod:
        """One method for all tensors."""
        return config.method

    return Merge(base, tuple(models), tuple(places), method, config.output)
