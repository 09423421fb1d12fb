"""Merging checkpoints, tensor by tensor and within a tensor chunk by chunk: memory does not grow with the model.

A task is a scope: the tensors that share one rule (nearly always one tensor). Its result goes straight to its place in
the output files, so tasks may run in threads, in processes or on other machines that see the folder, in any order and
twice; the bytes are the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.artifact import Receipt
from fusion.errors import ConfigError
from fusion.merging.base import Chunk, MergeMethod, columns_of, spans
from fusion.merging.checkpoint import Files, Stored, opened
from fusion.modelfiles import prepare
from fusion.models import ModelRef
from fusion.step import Placement
from fusion.transfer import on_disk

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Place:
    """Where a model lies: a folder or URL that all workers see, or a model that each machine prepares."""

    model: ModelRef | str
    cache: str

    @property
    def folder(self) -> Path:
        if isinstance(self.model, str):
            return on_disk(self.model)
        return prepare(self.model, Path(self.cache).expanduser())


@dataclass(frozen=True)
class TensorTask:
    """One tensor: what is read, what is written. The base may hold it in another file than the output."""

    name: str
    base: Stored
    models: tuple[Stored, ...]
    out: Stored


@dataclass(frozen=True)
class ScopeTask:
    """Tensors that share one rule."""

    method: MergeMethod
    tensors: tuple[TensorTask, ...]

    @property
    def num_elements(self) -> int:
        return sum(tensor.base.num_elements for tensor in self.tensors)


@dataclass(frozen=True)
class ScopeTasks:
    """All of them. One whose worker died is done again whole."""

    tasks: tuple[ScopeTask, ...]

    def __iter__(self) -> Iterator[object]:
        return iter(self.tasks)

    def remaining(self, task: object) -> object | None:
        return task


def tasks_of(methods: Mapping[str, MergeMethod], tensors: Sequence[TensorTask]) -> ScopeTasks:
    """Tensors by scope, the largest first: it would otherwise be what everyone waits for.

    Args:
        methods: the method of each tensor, by its name; those of one scope are the same.
    """
    scopes: dict[str, list[TensorTask]] = {}
    for tensor in tensors:
        scopes.setdefault(methods[tensor.name].scope(tensor.name), []).append(tensor)
    tasks = [ScopeTask(methods[members[0].name], tuple(members)) for members in scopes.values()]
    return ScopeTasks(tuple(sorted(tasks, key=lambda task: -task.num_elements)))


@dataclass(frozen=True)
class MergeWorker:
    """Opens the files of all models and of the output."""

    base: Place
    models: tuple[Place, ...]
    names: tuple[str, ...]
    """Of the models, for messages."""
    out: str
    sync: bool = True
    """Have each task on the disk before it counts as done: another machine's memory may be lost. False: the caller
    syncs at the end."""

    @contextmanager
    def open(self, placement: Placement) -> Iterator[MergeSession]:
        import torch

        threads = torch.get_num_threads()
        # Chunks fit in a core's cache; tasks, not the loops within a chunk, run side by side.
        torch.set_num_threads(1)
        with ExitStack() as stack:
            stack.callback(torch.set_num_threads, threads)
            folders = [place.folder for place in (self.base, *self.models)]
            inputs = [stack.enter_context(opened(folder, _safetensors(folder))) for folder in folders]
            out = stack.enter_context(opened(Path(self.out), _safetensors(Path(self.out)), os.O_RDWR))
            yield MergeSession(inputs[0], inputs[1:], self.names, out, sync=self.sync)


class MergeSession:
    """Merges one scope at a time in each calling thread."""

    def __init__(self, base: Files, models: Sequence[Files], names: Sequence[str], out: Files, *, sync: bool) -> None:
        self._base = base
        self._models = models
        self._names = names
        self._out = out
        self._sync = sync

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Merge a scope into its place.

        Raises:
            ConfigError: a model, or what comes out, holds NaN or infinity.
        """
        import torch

        assert isinstance(task, ScopeTask)
        with torch.inference_mode():
            streams = [Stream(one, self._base, self._models, task.method) for one in task.tensors]
            rule = task.method.rule(streams)
            for one, stream in zip(task.tensors, streams, strict=True):
                dtype = getattr(torch, one.out.torch_dtype)
                for chunk in stream.chunks():
                    merged_n = rule(chunk).to(dtype)
                    # A sum is finite where all are, nearly always, and takes a sixth of the time.
                    if not merged_n.sum().isfinite() and not merged_n.isfinite().all():
                        raise ConfigError(self._culprit(one, stream))
                    self._out.write(one.out, chunk.start, merged_n)
        if self._sync:
            self._out.sync()
        return {}

    def _culprit(self, task: TensorTask, stream: Stream) -> str:
        counts: dict[str, int] = {}
        for chunk in stream.chunks():
            rows = [("the base", chunk.base_n), *zip(self._names, chunk.models_Kn, strict=True)]
            for name, values_n in rows:
                counts[name] = counts.get(name, 0) + int((~values_n.isfinite()).sum())
        found = [f"{name} holds {count} NaN or infinite numbers" for name, count in counts.items() if count]
        reason = "; ".join(found) or f"the inputs are finite, but the result leaves the range of {task.out.torch_dtype}"
        return f"{task.name} cannot be merged: {reason}"


class Stream:
    """`fusion.merging.base.Weights` over files."""

    def __init__(self, task: TensorTask, base: Files, models: Sequence[Files], method: MergeMethod) -> None:
        self.name = task.name
        self._task = task
        self._base = base
        self._models = models
        self._columns = columns_of(task.base.shape)
        self._multiple = self._columns if method.whole_rows else 1
        self._needs_base = method.needs_base

    @property
    def num_elements(self) -> int:
        return self._task.base.num_elements

    @property
    def num_models(self) -> int:
        return len(self._models)

    def chunks(self) -> Iterator[Chunk]:
        import torch

        longest = max((stop - start for start, stop in spans(self.num_elements, self._multiple)), default=0)
        buffer = bytearray(8 * longest)
        values = torch.empty(1 + len(self._models), longest)
        for start, stop in spans(self.num_elements, self._multiple):
            base_n, models_Kn = values[0, : stop - start], values[1:, : stop - start]
            if self._needs_base or self._has_short_model:
                self._base.read(self._task.base, start, buffer, base_n)
            for files, stored, out_n in zip(self._models, self._task.models, models_Kn, strict=True):
                self._read(files, stored, start, buffer, out_n, base_n)
            yield Chunk(base_n if self._needs_base else models_Kn[0], models_Kn, start, self._columns)

    @property
    def _has_short_model(self) -> bool:
        return any(stored.num_elements < self.num_elements for stored in self._task.models)

    @staticmethod
    def _read(files: Files, stored: Stored, start: int, buffer: bytearray, out_n: Tensor, base_n: Tensor) -> None:
        """A model's elements; where its vocabulary has no such row, the base's."""
        there = max(0, min(len(out_n), stored.num_elements - start))
        if there:
            files.read(stored, start, buffer, out_n[:there])
        if there < len(out_n):
            out_n[there:] = base_n[there:]


def _safetensors(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.safetensors"))
