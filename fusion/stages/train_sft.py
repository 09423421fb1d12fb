"""Supervised fine-tuning of the target on the selected answers: SFT_EXAMPLE -> checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusion.chat import Renderer
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.models import ModelRef
from fusion.runtime import Runtime
from fusion.train.config import SftConfig
from fusion.train.driving import train
from fusion.train.job import TrainJob
from fusion.train.rows import sft_rows
from fusion.work import Work


@dataclass(kw_only=True)
class TrainSftConfig:
    """The step's config."""

    model: ModelRef
    """Where training starts, and how its chats are rendered."""
    train: SftConfig
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on each machine."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Train one model a work on its input `sft`.

    Raises:
        StepFailed: no row is left, training diverged, or the run was stopped.
    """
    for work in works:
        config = work.step.config
        assert isinstance(config, TrainSftConfig)
        folder = prepare(config.model, Path(config.cache))
        renderer = Renderer.load(folder, config.model.chat, config.model.trust_remote_code)
        rows, dropped = sft_rows(work.table_in("sft").read().to_pylist(), renderer, config.train.max_length)
        job = TrainJob(
            model=config.model,
            cache=config.cache,
            work=work.files_out.work_place,
            files=work.files_out.place,
            config=config.train,
            objective=None,
            chat_template=config.model.chat.template,
            end_of_turn_ids=renderer.end_of_turn_ids,
            use_gpu=work.step.placement.gpus > 0,
            trust_remote_code=config.model.trust_remote_code,
        )
        train(work, runtime, job, rows, dropped)
