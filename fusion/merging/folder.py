"""A merged model's folder from several: checked and laid out, filled by workers, finished with what is not weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusion.artifact import write_json
from fusion.errors import ConfigError
from fusion.fingerprint import canonical
from fusion.merging.base import MergeMethod
from fusion.merging.matching import Checkpoint, Rows, match
from fusion.merging.shards import SHARD_BYTES, create, layout
from fusion.merging.stream import MergeWorker, Place, ScopeTasks, TensorTask, tasks_of
from fusion.runtime import Runtime
from fusion.step import Placement

COPIED = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.model",
    "*.tiktoken", "chat_template*", "generation_config.json", "*.py",
)  # fmt: skip
"""What a model folder holds beside its weights and config.json."""
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


@dataclass(kw_only=True)
class MergeOutput:
    """What the merged model is, beside its weights' values; all of it bears identity."""

    dtype: str | None = None
    """float32, bfloat16 or float16; null: the base's, tensor by tensor."""
    shard_bytes: int = SHARD_BYTES
    """Size from which another file is begun."""
    rows: Rows = Rows.REFUSE
    """What is done where vocabularies have different sizes."""
    tokenizer_from: str = ""
    """Name of the model whose tokenizer, chat template, token ids and generation config the output has; empty: the
    base's."""
    add_bos_token: bool | None = None
    """Written to tokenizer_config.json; null: as it is there. FuseO1: false, because its template writes the token."""
    stop_tokens_of_all: bool = False
    """Let generation end at the end-of-turn tokens of every model (FuseO1), not of one alone."""

    def __post_init__(self) -> None:
        if self.shard_bytes < 1:
            raise ConfigError(f"merge_output.shard_bytes must be at least 1, got {self.shard_bytes}")


@dataclass(frozen=True)
class Merge:
    """One merge, ready to run.

    `methods` gives the method of a tensor by its name; recipes give one for all.
    """

    base: Checkpoint
    models: tuple[Checkpoint, ...]
    places: tuple[Place, ...]
    """Of the base, then of the models."""
    methods: Callable[[str], MergeMethod]
    output: MergeOutput

    def laid_out(self, folder: Path) -> tuple[ScopeTasks, tuple[str, ...]]:
        """Check everything, write headers and index to `folder`, and give what is to be done, with notices.

        Raises:
            ConfigError: the models cannot be merged, or the disk is too small.
        """
        found = match(self.base, self.models, self.output.rows)
        tensors, headers = layout(found.base, self.output.dtype, self.output.shard_bytes)
        methods = {name: self.methods(name) for name in tensors}
        for method in methods.values():
            method.check(len(self.models))
        create(folder, tensors, headers)
        tasks = [
            TensorTask(name, ours, tuple(model[name] for model in found.models), tensors[name])
            for name, ours in found.base.items()
        ]
        return tasks_of(methods, tasks), found.notices

    def worker(self, folder: Path, *, sync: bool = True) -> MergeWorker:
        names = tuple(model.name for model in self.models)
        return MergeWorker(self.places[0], self.places[1:], names, str(folder.absolute()), sync)

    def finish(self, folder: Path) -> None:
        """Add config.json, tokenizer, generation config, and merge.json, which says what was merged and how.

        Raises:
            ConfigError: `tokenizer_from` names no model of this merge.
        """
        everyone = {checkpoint.name: checkpoint for checkpoint in (*self.models, self.base)}
        name = self.output.tokenizer_from or self.base.name
        if name not in everyone:
            raise ConfigError(f"merge_output.tokenizer_from is {name!r}; the models are {', '.join(everyone)}")
        donor = everyone[name]
        for pattern in COPIED:
            for file in sorted(donor.folder.glob(pattern)):
                shutil.copyfile(file, folder / file.name)
        config = _read(self.base.folder / "config.json")
        if donor is not self.base:
            theirs = _read(donor.folder / "config.json")
            config |= {key: theirs[key] for key in TOKEN_IDS if key in theirs}
        if self.output.dtype is not None:
            config.pop("torch_dtype", None)
            config["dtype"] = self.output.dtype
        write_json(str(folder / "config.json"), config)
        if self.output.add_bos_token is not None:
            settings = _read(folder / "tokenizer_config.json") | {"add_bos_token": self.output.add_bos_token}
            write_json(str(folder / "tokenizer_config.json"), settings)
        if self.output.stop_tokens_of_all:
            stops = [id_ for one in (donor, *everyone.values()) for id_ in _stop_ids(one.folder)]
            settings = _read(folder / "generation_config.json") | {"eos_token_id": list(dict.fromkeys(stops))}
            write_json(str(folder / "generation_config.json"), settings)
        write_json(str(folder / "merge.json"), self._record())

    def _record(self) -> dict[str, object]:
        methods = {name: self.methods(name) for name in self.base.weights}
        distinct = {json.dumps(canonical(m), sort_keys=True): canonical(m) for m in methods.values()}
        return {
            "base": self.base.name,
            "models": [model.name for model in self.models],
            "methods": list(distinct.values()),
            "output": canonical(self.output),
        }


def run(
    merge: Merge,
    folder: Path,
    runtime: Runtime,
    placement: Placement,
    name: str,
    *,
    progress: Callable[[int, int], None],
    stopped: Callable[[], bool] = lambda: False,
    sync_each: bool = True,
) -> tuple[str, ...]:
    """Merge into `folder`; returns notices. Progress counts weights.

    Raises:
        ConfigError: the models cannot be merged, or hold NaN.
        EngineError: workers died too often.
    """
    tasks, notices = merge.laid_out(folder)
    total, done = sum(task.num_elements for task in tasks.tasks), 0
    for finished in runtime.map(merge.worker(folder, sync=sync_each), tasks, placement, name):
        done += tasks.tasks[finished.task_id].num_elements
        progress(done, total)
        if stopped():
            break
    if done == total:
        merge.finish(folder)
    for file in sorted(folder.iterdir()):
        _sync(file)
    return notices


def checkpoints(folders: Mapping[str, Path]) -> tuple[Checkpoint, ...]:
    return tuple(Checkpoint(name, folder) for name, folder in folders.items())


def _stop_ids(folder: Path) -> Sequence[int]:
    for file in ("generation_config.json", "config.json"):
        found = _read(folder / file).get("eos_token_id")
        if isinstance(found, int):
            return [found]
        if isinstance(found, list):
            return found
    return []


def _read(path: Path) -> dict[str, object]:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
