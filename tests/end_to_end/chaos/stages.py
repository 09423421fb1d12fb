"""Stages of a run, each entered alone: a store that is done but for what one stage makes.

Everything before the stage is found, and so is everything after it if the stage makes the same again, byte for byte.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """`made`: globs of artifact folders below the store that the stage makes; `moments`: how far it is, in a store."""

    name: str
    made: tuple[str, ...]
    moments: Callable[[Path], int]


def parts(*patterns: str) -> Callable[[Path], int]:
    """Committed parts."""
    return lambda store: sum(len(list(store.glob(f"{pattern}/parts/*.parquet"))) for pattern in patterns)


def steps(label: str) -> Callable[[Path], int]:
    """Steps of training whose checkpoint is whole; a job that is sealed has no checkpoints left."""
    return lambda store: max(
        map(_step, store.glob(f"checkpoint/{label}-*/work/checkpoints/*/complete.json")), default=0
    )


def _step(marker: Path) -> int:
    return int(marker.parent.name.removeprefix("checkpoint-"))


STAGES = {
    stage.name: stage
    for stage in (
        Stage("ingest", ("prompts/*",), parts("prompts/*")),
        Stage("generate", ("responses/pico_*", "rewards/pico_*"), parts("responses/pico_*")),
        Stage("score", ("rewards/pico_*",), parts("rewards/pico_*")),
        Stage("select", ("sft/*", "pairs/*"), parts("sft/*", "pairs/*")),
        Stage("sft", ("checkpoint/sft-*",), steps("sft")),
        Stage("reference", ("logprobs/*",), parts("logprobs/*")),
        Stage("final", ("checkpoint/final-*",), steps("final")),
        Stage(
            "evaluate",
            ("responses/evaluation-final-*", "rewards/evaluation-final-*", "evaluation/*", "comparison/*"),
            parts("responses/evaluation-final-*"),
        ),
    )
}


def enter(stage: Stage, calm: Path, store: Path) -> Path:
    """Copy a finished store and take out what the stage makes; returns `store`."""
    shutil.copytree(calm, store, dirs_exist_ok=True)
    for pattern in stage.made:
        for folder in store.glob(pattern):
            shutil.rmtree(folder)
    return store


def extent(stage: Stage, calm: Path) -> int:
    """How many moments the stage has when it is not disturbed."""
    if stage.name in ("sft", "final"):
        manifest = json.loads(next(calm.glob(f"checkpoint/{stage.name}-*/manifest.json")).read_text())
        return int(manifest["metrics"]["steps"])
    return stage.moments(calm)
