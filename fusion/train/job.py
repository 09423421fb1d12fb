"""A training job: what each training process does from its start to the exported model.

The same call begins, continues after a kill, and finds that all is done. It reads and writes files only; who starts
the processes, and starts them again, is the runtime's business.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fusion import location
from fusion.errors import StepFailed
from fusion.location import full_disk_named
from fusion.modelfiles import prepare
from fusion.models import ModelRef
from fusion.objectives.base import Objective
from fusion.train.arguments import lora_config, training_arguments
from fusion.train.batches import BatchPlan, plan_batches
from fusion.train.config import CheckpointChoice, Tracker, TrainingConfig
from fusion.train.export import export
from fusion.train.rows import read_rows
from fusion.train.tracking import demand, run_name, tell_tensorboard
from fusion.train.trainers import PlannedTrainer, trainer_class
from fusion.train.weights_only import weights_only
from fusion.train.workspace import Workspace
from fusion.transfer import on_disk, scratch, send

if TYPE_CHECKING:
    from torch import Tensor

PER_STEP = ("epoch", "step", "total_flos")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainJob:
    """One phase of training; goes to every training process.

    Example: TrainJob(model="models/smollm2", work="store/.../work", files="store/.../files", config=SftConfig(), ...)
    """

    model: ModelRef | str
    """What to start from: a folder that all processes see, a path or a URL, or a reference that is prepared on each
    machine."""
    cache: str
    """Folder of prepared models on each machine."""
    work: str
    """Place of the `Workspace`."""
    files: str
    """Folder that the trained model is exported to; as `work`, a path or a URL."""
    config: TrainingConfig
    objective: Objective | None
    """null: SFT."""
    chat_template: str | None
    """Jinja template to put into the exported tokenizer; null: it has its own."""
    end_of_turn_ids: tuple[int, ...]
    use_gpu: bool
    trust_remote_code: bool = False
    choice: CheckpointChoice = field(default_factory=CheckpointChoice)
    """Several candidates are exported to `files`/step-400, `files`/step-500, ... instead of the last to `files`."""

    @property
    def folder(self) -> str:
        return self.work

    def run(self, rank: int, world_size: int) -> None:
        """Train, export, and say so in the workspace. Called in each of `world_size` processes.

        Raises:
            StepFailed: the loss is not finite.
            ArtifactError: the disk is full, or a checkpoint is damaged or holds more than weights.
            ConfigError: a checkpoint of another number of processes is there, or the global batch is not divisible.
        """
        workspace = Workspace(self.work)
        if workspace.result() is not None:
            return
        for tracker in self.config.report_to:
            demand(tracker, self.work, os.environ)  # of this machine, which may not be the driver's
        with _process_group(), _prepared_libraries(self.use_gpu), full_disk_named(workspace.path):
            began = time.monotonic()
            folder = on_disk(self.model) if isinstance(self.model, str) else prepare(self.model, Path(self.cache))
            model = str(folder)
            trainer, plan = self._trainer(model, workspace, world_size)
            if rank == 0:
                workspace.tell("begins")
            num_steps = len(plan.steps)
            candidates = self.choice.candidates(num_steps)
            if candidates:
                trainer.keep = lambda step: self._export(trainer, model, step) if step in candidates else None
            start_s = time.monotonic() - began
            checkpoint = workspace.latest(rank, world_size)
            with weights_only(location.join(self.work, "checkpoints")):
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            if trainer.state.global_step < num_steps:
                return
            if not candidates:
                self._export(trainer, model)
            if rank == 0:
                told = {"candidates": list(candidates)} if candidates else {}
                workspace.finish(_result(trainer, plan, start_s, time.monotonic() - began) | told)
            trainer.accelerator.wait_for_everyone()
            if trainer.args.local_process_index == 0:
                workspace.leave()

    def pulse(self) -> object:
        """The latest news of the job: a step, or that it saves or exports."""
        return Workspace(self.work).news()

    def _export(self, trainer: PlannedTrainer, base: str, step: int | None = None) -> None:
        """The model as it is now; called in every process. `step` None: it is the last, and the only one."""
        if trainer.args.process_index == 0:
            trainer.workspace.tell("exports")
        weights = _gathered(trainer)
        if trainer.args.process_index == 0:
            place = self.files if step is None else location.join(self.files, candidate_name(step))
            export(
                trainer.model,
                weights,
                scratch(place),
                base=base,
                config=self.config,
                tokenizer=trainer.processing_class,
                end_of_turn_ids=self.end_of_turn_ids,
            )
            _hand_over(place)
        trainer.accelerator.wait_for_everyone()

    def _trainer(self, model: str, workspace: Workspace, world_size: int) -> tuple[PlannedTrainer, BatchPlan]:
        from datasets import Dataset
        from transformers import PrinterCallback

        rows = read_rows(workspace.fetch_rows())
        keys, lengths = [row.key for row in rows], [row.num_tokens for row in rows]
        groups = [row.group or row.key for row in rows]
        plan = plan_batches(keys, lengths, self.config, world_size, groups)
        tokenizer = self._tokenizer(model)
        trainer = trainer_class(self.objective, self.config)(
            model=model,
            args=training_arguments(
                self.config,
                is_sft=self.objective is None,
                folder=workspace.checkpoints,
                name=run_name(self.work),
                num_steps=len(plan.steps),
                world_size=world_size,
                use_gpu=self.use_gpu,
                trust_remote_code=self.trust_remote_code,
            ),
            train_dataset=Dataset.from_dict({"input_ids": [[0]], "labels": [[0]]}),  # TRL looks at one row; the plan
            processing_class=tokenizer,  # of rows replaces it
            peft_config=lora_config(self.config.lora) if self.config.lora.rank else None,
        )
        trainer.remove_callback(PrinterCallback)
        if Tracker.TENSORBOARD in self.config.report_to:
            tell_tensorboard(trainer, self.work)
        trainer.follow(rows, plan, workspace, self.config.execution)
        return trainer, plan

    def _tokenizer(self, model: str) -> object:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=self.trust_remote_code)
        if self.chat_template is not None:
            tokenizer.chat_template = self.chat_template
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer


def candidate_name(step: int) -> str:
    """Folder of a candidate: the model after so many optimiser steps."""
    return f"step-{step}"


def _gathered(trainer: PlannedTrainer) -> dict[str, Tensor]:
    """All trained weights, on the first process; every process takes part."""
    from peft import PeftModel, get_peft_model_state_dict

    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.args.process_index == 0 and isinstance(trainer.model, PeftModel):
        return dict(get_peft_model_state_dict(trainer.model, state_dict=state))
    return dict(state or {})


def _result(trainer: PlannedTrainer, plan: BatchPlan, start_s: float, wall_s: float) -> dict[str, object]:
    """What the manifest keeps. transformers carries its log through checkpoints, so the curve is whole."""
    curve = []
    for entry in trainer.state.log_history:
        if "loss" in entry:
            point = {"step": entry["step"]} | {k: v for k, v in entry.items() if k not in PER_STEP}
            point["tokens_per_s"] = entry["tokens"] / max(entry["seconds"], 1e-9)
            curve.append(point)
    if [point["step"] for point in curve] != list(range(1, len(plan.steps) + 1)):
        raise StepFailed(f"the loss curve has {len(curve)} points for {len(plan.steps)} steps; remove the work folder")
    return {
        "curve": curve,
        "steps": len(curve),
        "tokens": sum(point["tokens"] for point in curve),
        "train_s": sum(point["seconds"] for point in curve),
        "start_s": start_s,
        "wall_s": wall_s,
        "world_size": plan.world_size,
    }


def _hand_over(files: str) -> None:
    """Send the exported model from this machine to an object store, if that is where it belongs."""
    if not location.is_local(files):
        location.remove(files)
        send(scratch(files), files)
        shutil.rmtree(scratch(files))


@contextmanager
def _process_group() -> Iterator[None]:
    """A process group of one, where nobody made one (without Ray).

    It ends with the job, and all that DeepSpeed keeps of it: an engine of the same process would end it too, for vLLM
    takes a group that is there for its own. Accelerate's state goes, or the next job would get this one's settings.
    """
    if "RANK" in os.environ:
        yield
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    before = dict(os.environ)
    os.environ.update(lone)
    try:
        yield
    finally:
        import deepspeed
        from accelerate.state import AcceleratorState, GradientState

        if deepspeed.comm.is_initialized():
            deepspeed.comm.destroy_process_group()
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _prepared_libraries(use_gpu: bool) -> Iterator[None]:
    """DeepSpeed told what to run on and kept from compiling; no progress bars and notes of libraries."""
    if not use_gpu:
        os.environ["DS_ACCELERATOR"] = "cpu"  # read by DeepSpeed at its import
    import datasets
    import deepspeed
    import transformers

    # DeepSpeed would build an operator for inference on CPUs whenever it starts: a compiler and up to minutes for it.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
