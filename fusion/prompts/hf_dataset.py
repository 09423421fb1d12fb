"""Prompts from a data set on the Hugging Face hub, pinned to a commit, or from a copy of it, pinned by content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt
from fusion.prompts.columns import Columns, to_prompt
from fusion.prompts.digest import tree_digest
from fusion.prompts.rows import Row, file_rows


@dataclass(kw_only=True)
class HfDataset(Prompts):
    """A split of a data set. Rows are named `org/name/train:0`, ... in errors and DROP rows.

    A hub data set that was loaded once is read again without a network (HF_HUB_OFFLINE=1).
    """

    name: str = MISSING
    """`org/name`; with `path`, only what the data set is called."""
    revision: str = ""
    """Commit hash; a branch moves, so it is refused. Not needed with `path`."""
    path: str = field(default="", metadata={"identity": False})
    """A copy to read in place of the hub: a file (.jsonl, .json, .parquet), a folder of data files as on the hub, or a
    folder that `Dataset.save_to_disk` wrote. Its digest is its identity, not where it lies."""
    digest: str = field(default="", metadata={"absent_when": ""})
    """sha256 of what is at `path`; filled in when the config is read. Given by hand, the content must match it."""
    subset: str | None = None
    """Configuration of the data set; null: its default."""
    subsets: list[str] = field(default_factory=list, metadata={"absent_when": []})
    """Several configurations, read one after another, in place of `subset`; one file or one saved data set has none."""
    subset_column: str = field(default="", metadata={"absent_when": ""})
    """Column in which each row of `subsets` gets the name of its own; empty: none."""
    split: str = "train"
    """May be a slice: `train[:1000]`. A single file has no splits."""
    columns: Columns = field(default_factory=Columns)

    def resolve(self) -> None:
        if self.path:
            self.digest = tree_digest(self.path, self.digest)
            if Path(self.path).is_file() or _is_saved(self.path):
                self.subsets, self.subset_column = [], ""
        elif not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ConfigError(
                f"prompts.revision of {self.name} is {self.revision!r}; pin it to a commit (40 hex digits): "
                f"https://huggingface.co/datasets/{self.name}/commits/main lists them; "
                "or set prompts.path to a local copy"
            )

    def read(self) -> Iterator[RawPrompt]:
        for key, row in self.rows():
            yield self.to_prompt(row, key)

    def rows(self) -> Iterator[Row]:
        """Named rows of the split.

        Raises:
            ConfigError: the data set cannot be loaded, or has no such split.
        """
        if Path(self.path or "/").is_file():
            yield from file_rows(Path(self.path))
            return
        chosen: list[str | None] = [*self.subsets] or [self.subset]
        for subset in chosen:
            place = f"{self.name}/{subset}" if self.subsets else self.name
            own: dict[str, object] = {self.subset_column: subset} if self.subset_column else {}
            for number, row in enumerate(self._load(subset)):
                yield f"{place}/{self.split}:{number}", {**own, **row}

    def to_prompt(self, row: object, key: str) -> RawPrompt:
        """One row as a prompt; data sets with a form of their own do it otherwise."""
        return to_prompt(row, key, self.columns, self.name)

    def _load(self, subset: str | None) -> Iterable[Mapping[str, object]]:
        from datasets import DatasetDict, load_dataset, load_from_disk
        from datasets.exceptions import DatasetsError

        try:
            if self.path and _is_saved(self.path):
                saved = load_from_disk(self.path)
                return saved[self.split] if isinstance(saved, DatasetDict) else saved  # type: ignore[no-any-return]
            if self.path:
                return load_dataset(self.path, subset, split=self.split)  # type: ignore[no-any-return]
            return load_dataset(self.name, subset, split=self.split, revision=self.revision)  # type: ignore[no-any-return]
        except (OSError, ValueError, KeyError, RuntimeError, DatasetsError) as error:
            where = self.path or f"at {self.revision[:12]}"
            where += f", subset {subset}" if self.subsets else ""
            raise ConfigError(f"data set {self.name} {where}, split {self.split}, cannot be loaded: {error}") from error


def _is_saved(path: str) -> bool:
    """Whether `save_to_disk` wrote the folder."""
    return any((Path(path) / mark).exists() for mark in ("dataset_dict.json", "state.json"))
