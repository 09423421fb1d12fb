"""Who else is told of a training: MLflow, Weights & Biases, TensorBoard, by the trainers' own callbacks.

Addresses and keys come from the environment of the machines that train, never from a config: MLFLOW_TRACKING_URI,
WANDB_API_KEY, TENSORBOARD_LOGGING_DIR and whatever else those libraries read.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusion import location
from fusion.errors import ConfigError
from fusion.step import Step, topological
from fusion.train.config import Tracker, TrainingConfig

if TYPE_CHECKING:
    from transformers import Trainer

MODULES = {
    Tracker.MLFLOW: ("mlflow",),
    Tracker.WANDB: ("wandb",),
    Tracker.TENSORBOARD: ("tensorboard", "tensorboardX"),
}
"""One of them is needed."""


def demand_trackers(targets: Sequence[Step], store: str) -> None:
    """Refuse, before anything is started, a training that could not report to whom it should.

    Raises:
        ConfigError: a package or what it must be told is missing; says what to type.
    """
    for step in topological(targets):
        train = getattr(step.config, "train", None)
        if isinstance(train, TrainingConfig):
            for tracker in train.report_to:
                demand(tracker, store, os.environ)


def demand(tracker: Tracker, place: str, environment: Mapping[str, str]) -> None:
    """Refuse a tracker that this machine cannot serve. `place`: where the training writes, a path or a URL.

    Raises:
        ConfigError: as `demand_trackers`.
    """
    name = tracker.value
    if not any(importlib.util.find_spec(module) for module in MODULES[tracker]):
        raise ConfigError(
            f"train: report_to={name}, but the package {name} is not installed here; type: pip install {name} (on "
            "every machine that trains), or leave it out of report_to"
        )
    if tracker is Tracker.MLFLOW and not environment.get("MLFLOW_TRACKING_URI"):
        raise ConfigError(
            "train: report_to=mlflow, but the environment says no MLFLOW_TRACKING_URI, and runs would be written to a "
            "folder that Ray removes; type: export MLFLOW_TRACKING_URI=http://HOST:5000 (or sqlite:////PATH/mlflow.db)"
        )
    if tracker is Tracker.WANDB and not _may_log_in(environment):
        raise ConfigError(
            "train: report_to=wandb, but there is no key in the environment (WANDB_API_KEY) or in ~/.netrc; type: "
            "wandb login, or export WANDB_MODE=offline WANDB_DIR=/PATH to send it later"
        )
    if tracker is Tracker.TENSORBOARD and not (location.is_local(place) or environment.get("TENSORBOARD_LOGGING_DIR")):
        raise ConfigError(
            f"train: report_to=tensorboard writes files, and {place} is an object store; type: export "
            "TENSORBOARD_LOGGING_DIR=/PATH, a folder of the machines that train"
        )


def tell_tensorboard(trainer: Trainer, work: str) -> None:
    """Have TensorBoard's files beside the model, where they outlive the training: <step>/tensorboard."""
    from transformers.integrations import TensorBoardCallback

    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(location.local_path(work).parent / "tensorboard")


def run_name(work: str) -> str:
    """What trackers call a training: label and fingerprint of its step, e.g. `sft-0f3c5a`."""
    return work.rstrip("/").split("/")[-2]


def _may_log_in(environment: Mapping[str, str]) -> bool:
    if environment.get("WANDB_MODE") in ("offline", "disabled") or environment.get("WANDB_API_KEY"):
        return True
    netrc = Path(environment.get("NETRC") or Path(environment.get("HOME", "/")) / ".netrc")
    return netrc.is_file() and "wandb" in netrc.read_text(encoding="utf-8", errors="replace")
