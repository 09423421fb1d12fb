"""Procedural prompts with verifiers, from the reasoning-gym library.

The reference of a prompt is a small JSON object with what the library's own `score_answer` needs beside the question,
so that `rewards/answer.py` can verify a response anywhere, without this config.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt
from fusion.schema import hash_text

MARK = "reasoning_gym"
"""The key of a reference that names its task family; no other reference has it."""


class Dataset(Protocol):
    """What we use of reasoning-gym's ProceduralDataset."""

    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def score_answer(self, answer: str | None, entry: Mapping[str, object]) -> float: ...


@dataclass(kw_only=True)
class ReasoningGym(Prompts):
    """`per_task` prompts of each task family, in turn. The family is the domain.

    Entry i of a family depends on (seed, family, its settings, i) alone, so a larger `per_task` only adds prompts. Easy
    settings repeat themselves (one-digit products have a hundred questions); repetitions become DROP rows.
    """

    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Task family -> its settings, as the library names them: `{gcd: {max_value: 30}}`."""
    per_task: int = 100
    seed: int = 0
    package_version: str = ""
    """Version of reasoning-gym, which decides what its seeds mean; filled in when the config is read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_task < 1:
            raise ConfigError(f"prompts.per_task must be at least 1, got {self.per_task}")

    def resolve(self) -> None:
        installed = importlib.metadata.version("reasoning-gym")
        if self.package_version and self.package_version != installed:
            raise ConfigError(
                f"prompts.package_version is reasoning-gym {self.package_version}, but {installed} is installed"
            )
        if not self.tasks:
            raise ConfigError("prompts.tasks is empty; name task families, e.g. prompts.tasks.gcd.max_value=30")
        self.package_version = installed

    def domains(self) -> set[str] | None:
        return set(self.tasks) if self.tagger is None else None

    def read(self) -> Iterator[RawPrompt]:
        families = {name: self._family(name, settings) for name, settings in self.tasks.items()}
        for index in range(self.per_task):
            for name, family in families.items():
                entry = family[index]
                question = str(entry["question"])
                messages = ({"role": "user", "content": question},)
                yield RawPrompt(f"{name}#{index}", messages, name, MARK, _reference(name, entry))

    def _family(self, name: str, settings: Mapping[str, object]) -> Dataset:
        # The library seeds entry i with seed + i: neighbouring seeds would share nearly all entries.
        seed = int(hash_text(str(self.seed), name, length=15), 16) % 2**31
        try:
            family = library().create_dataset(name, size=self.per_task, seed=seed, **settings)
            entry = family[0]
            verifier = verifier_of(name)
        except (AssertionError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"prompts.tasks.{name}: {_explained(name, error)}") from error
        stored = {**json.loads(_reference(name, entry)), "question": entry["question"]}
        if not verifier.score_answer(entry["answer"], stored) >= 1.0:
            raise ConfigError(f"prompts.tasks.{name}: its own answer does not pass once stored as JSON; leave it out")
        return family  # type: ignore[no-any-return]


def library() -> Any:
    """The reasoning_gym module. Takes about two seconds."""
    if "pycosat" not in sys.modules and importlib.util.find_spec("pycosat") is None:
        # One task family (zebra_puzzles) uses this solver, whose wheel needs a compiler; the library imports it always.
        sys.modules["pycosat"] = ModuleType("pycosat")
    import reasoning_gym

    return reasoning_gym


def verifier_of(name: str) -> Dataset:
    """A task family at its default settings, for its `score_answer`."""
    return library().create_dataset(name, size=1, seed=0)  # type: ignore[no-any-return]


def parsed_reference(reference: str | None) -> dict[str, Any] | None:
    """`{"reasoning_gym": family, "answer": ..., "metadata": ...}`, or None for any other reference."""
    if reference is None or not reference.startswith('{"answer"'):
        return None
    try:
        entry = json.loads(reference)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and MARK in entry else None


def _reference(name: str, entry: Mapping[str, Any]) -> str:
    """Canonical and free of the entry's number and of the settings' ranges: the same question is the same prompt."""
    metadata = {k: v for k, v in entry["metadata"].items() if k not in ("source_dataset", "source_index", "difficulty")}
    try:
        return json.dumps({"answer": entry["answer"], "metadata": metadata, MARK: name}, sort_keys=True)
    except TypeError as error:
        raise ConfigError(f"prompts.tasks.{name}: its entries do not fit JSON ({error}); leave it out") from error


def _explained(name: str, error: Exception) -> str:
    from reasoning_gym.factory import DATASETS

    if name in DATASETS:
        return f"{error}"
    close = difflib.get_close_matches(name, DATASETS, n=3)
    return "reasoning-gym has no such task family" + (f"; did you mean {' or '.join(close)}?" if close else "")
