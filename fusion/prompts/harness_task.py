"""A task of lm-evaluation-harness: found by name, refused where it cannot be asked here, and its content named.

The library (`lm_eval`) is no dependency: it is imported when a benchmark names one of its tasks. It builds a task with
its data, which takes seconds; a process does so once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from fusion.errors import ConfigError
from fusion.generators.base import Sampling
from fusion.prompts import harness_index
from fusion.prompts.digest import tree_digest

PACKAGE = "lm-eval"
TESTED = "0.4.13"
SEEDS = {"random": 0, "numpy": 1234}
"""The library's own, under which some tasks shuffle their options."""
PLACES = ("dataset_path", "dataset_name", "dataset_kwargs")
"""Where data comes from; what it holds is hashed by itself."""
LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""How tasks name the longest answer; the first that is there counts, as in the library."""
NUM_TOKENS = 256
"""The library's longest answer where a task names none."""


@dataclass(kw_only=True)
class HarnessTask:
    """Which task, and from which data. Of a group, all its tasks."""

    name: str = MISSING
    """As `lm_eval ls tasks` lists it: `gsm8k_cot_zeroshot`, `bbh_cot_zeroshot`."""
    include_path: str = field(default="", metadata={"identity": False})
    """A folder of further task files; what is read of it bears identity."""
    data_files: dict[str, str] = field(default_factory=dict, metadata={"identity": False})
    """Split -> local file (.jsonl, .json, .parquet, also .gz) to read in place of the hub; of a single task."""
    dataset_path: str = field(default="", metadata={"identity": False})
    """A local folder like the data set's on the hub, to read in its place; of a single task."""
    num_fewshot: int | None = None
    """Solved examples before the question; null: as the task says."""
    fewshot_seed: int = 1234
    """Of the draw of examples; the library's own."""
    package_version: str = ""
    """Version of the library; filled in when the config is read, as are the following."""
    versions: dict[str, str] = field(default_factory=dict)
    """Task -> its version."""
    recipe: str = ""
    """Hash of the tasks' settings and of the Python files beside them, on which prompts and scores depend."""
    content: str = ""
    """Hash of the questions, and of the examples where there are any."""

    def resolve(self) -> None:
        """Raises:
        ConfigError: the library or the task is not there, its data cannot be read, or it cannot be asked here.
        """
        tasks = self.load()
        self.package_version = importlib.metadata.version(PACKAGE)
        self.versions = {name: str(task.VERSION) for name, task in tasks.items()}
        self.recipe = _hash([_recipe(task) for task in tasks.values()])
        self.content = _hash([_content(task) for task in tasks.values()])

    def load(self) -> dict[str, Any]:
        """Name -> the library's task object."""
        files = {split: str(Path(path).absolute()) for split, path in self.data_files.items()}
        settings = (self.name, self.include_path, json.dumps(files), self.dataset_path, self.num_fewshot)
        return _loaded(*settings)

    @property
    def is_compared(self) -> bool:
        """Whether models say how likely they find given continuations; else they answer in words.

        Raises:
            ConfigError: the tasks of a group want different ones.
        """
        kinds = {task.OUTPUT_TYPE in harness_index.COMPARED: name for name, task in self.load().items()}
        if len(kinds) > 1:
            raise ConfigError(
                f"the tasks of {self.name} are answered in different ways: {kinds[False]} in words, and {kinds[True]} "
                "gives continuations to compare; name one of its tasks"
            )
        return True in kinds

    def sampling(self) -> Sampling:
        """Decoding as the task wants it; where nothing is decoded, the library's own.

        Raises:
            ConfigError: the tasks of a group want different ones.
        """
        if self.is_compared:
            return _sampling({})
        wanted = {name: _sampling(task.get_config("generation_kwargs") or {}) for name, task in self.load().items()}
        first, *others = wanted.values()
        if any(other != first for other in others):
            raise ConfigError(
                f"the tasks of {self.name} decode differently ({', '.join(wanted)}); name one of them, or type every "
                "field of the benchmark's sampling"
            )
        return first


def register() -> None:
    """Make `task_wants` known to OmegaConf: `${task_wants:${..data.task},temperature}` in a benchmark's sampling."""
    OmegaConf.register_new_resolver("task_wants", _task_wants, replace=True)


def library(module: str) -> Any:
    """A module of the library.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(
            f"tasks of lm-evaluation-harness need its library, which is not installed; type: pip install "
            f"{PACKAGE}=={TESTED}"
        )
    return importlib.import_module(f"lm_eval.{module}")


def doc_hash(doc: object) -> str:
    """Names what a question holds."""
    return _hash(doc)


def _task_wants(task: DictConfig, name: str) -> object:
    if OmegaConf.is_missing(task, "name"):
        raise ConfigError("no task is named; type the benchmark's data.task.name=..., e.g. gsm8k_cot_zeroshot")
    chosen = OmegaConf.to_object(task)
    assert isinstance(chosen, HarnessTask)
    return getattr(chosen.sampling(), name)


@cache
def _loaded(
    name: str, include_path: str, data_files: str, dataset_path: str, num_fewshot: int | None
) -> dict[str, Any]:
    manager = _manager(include_path, with_defaults=False)
    if name not in manager.task_index or "group" in (manager.task_index[name].cfg or {"group": name}):
        manager = _manager(include_path, with_defaults=True)  # a group may name tasks of the library
    index = manager.task_index
    harness_index.check(name, index)
    spec: object = name
    if place := _place(json.loads(data_files), dataset_path):
        if index[name].yaml_path is None or "group" in index[name].cfg:
            raise ConfigError(f"{name} is a group of tasks; data_files and dataset_path are of one task")
        spec = library("tasks._yaml_loader").load_yaml(index[name].yaml_path) | place
    with _seeded():
        tasks = _built(manager, name, spec)
    if place:
        tasks[name].config.metadata["config_source"] = str(index[name].yaml_path)
    for one, task in tasks.items():
        harness_index.check_built(one, task, library("api.task").ConfigurableTask)
        _set_shots(one, task, num_fewshot)
    return dict(sorted(tasks.items()))


@cache
def _manager(include_path: str, *, with_defaults: bool) -> Any:
    """An index of task files: of the folder's, at once, and with the library's own, in four seconds."""
    if include_path and not Path(include_path).is_dir():
        raise ConfigError(f"include_path {include_path} is no folder (from {Path.cwd()})")
    return library("tasks").TaskManager(include_path=include_path or None, include_defaults=with_defaults)


def _built(manager: Any, name: str, spec: object) -> dict[str, Any]:
    from datasets.exceptions import DatasetsError

    try:
        return dict(manager.load(spec)["tasks"])
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, DatasetsError) as error:
        raise ConfigError(
            f"task {name} cannot be built: {type(error).__name__}: {error}; a copy of its data is read from "
            "+data.task.data_files.SPLIT=FILE (each split that it names) or data.task.dataset_path=FOLDER"
        ) from error


def _place(files: Mapping[str, str], folder: str) -> dict[str, object]:
    """Settings of a task whose data lies here."""
    if not files:
        return {"dataset_path": folder} if folder else {}
    for path in files.values():
        tree_digest(path, "")  # says which file is not there
    kind = "parquet" if all(path.endswith(".parquet") for path in files.values()) else "json"
    return {"dataset_path": kind, "dataset_name": None, "dataset_kwargs": {"data_files": dict(files)}}


def _set_shots(name: str, task: Any, wanted: int | None) -> None:
    own = task.get_config("num_fewshot")
    if wanted is not None and own == 0 and wanted:
        raise ConfigError(f"task {name} is asked without examples (its num_fewshot is 0); leave num_fewshot out")
    task.set_config("num_fewshot", (own or 0) if wanted is None else wanted)


def _sampling(wanted: Mapping[str, Any]) -> Sampling:
    """Example: {"do_sample": False, "max_gen_toks": 64} is greedy, of 64 tokens at most."""
    sampled = wanted.get("do_sample", True)
    lengths = [wanted[name] for name in LENGTHS if wanted.get(name) is not None]
    return Sampling(
        temperature=float(wanted.get("temperature", 0.0)) if sampled else 0.0,
        top_p=float(wanted.get("top_p", 1.0)) if sampled else 1.0,
        top_k=int(wanted.get("top_k", 0)) if sampled else 0,
        repetition_penalty=float(wanted.get("repetition_penalty", 1.0)),
        max_new_tokens=int(lengths[0]) if lengths else NUM_TOKENS,
        num_samples=1,
    )


def _recipe(task: Any) -> list[object]:
    settings = {k: v for k, v in dataclasses.asdict(task.config).items() if k not in PLACES}
    metadata = dict(settings.get("metadata") or {})
    source = Path(str(metadata.pop("config_source", "")))
    beside = sorted(source.parent.glob("*.py")) if source.suffix == ".yaml" else []
    return [settings | {"metadata": metadata}, [[path.name, path.read_text()] for path in beside]]


def _content(task: Any) -> list[object]:
    examples = task.sampler.df if task.config.num_fewshot and hasattr(task, "sampler") else []
    return [list(task.task_docs), list(examples)]


def _hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_source)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _source(value: object) -> str:
    """Functions by their text, so that no address is hashed."""
    try:
        return inspect.getsource(value) if callable(value) else str(value)
    except (TypeError, OSError):
        return type(value).__name__


@contextmanager
def _seeded() -> Iterator[None]:
    """The library's seeds while tasks are built; what others draw afterwards is as it was."""
    import numpy as np

    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (the state that tasks draw from)
    random.seed(SEEDS["random"])
    np.random.seed(SEEDS["numpy"])  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
