"""Prompts from a data set on the Hugging Face hub, pinned to a commit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt
from fusion.prompts.columns import Columns, to_prompt


@dataclass(kw_only=True)
class HfDataset(Prompts):
    """A split of a hub data set. Rows are named `org/name/train:0`, ... in errors and DROP rows."""

    name: str = MISSING
    """`org/name`, or a folder of data files."""
    revision: str = ""
    """Commit hash; a branch moves, so it is refused."""
    subset: str | None = None
    """Configuration of the data set; null: its default."""
    split: str = "train"
    columns: Columns = field(default_factory=Columns)

    def resolve(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ConfigError(
                f"prompts.revision of {self.name} is {self.revision!r}; pin it to a commit (40 hex digits): "
                f"https://huggingface.co/datasets/{self.name}/commits/main lists them"
            )

    def read(self) -> Iterator[RawPrompt]:
        from datasets import load_dataset

        try:
            rows = load_dataset(self.name, self.subset, split=self.split, revision=self.revision)
        except (OSError, ValueError) as error:
            raise ConfigError(f"data set {self.name} at {self.revision[:12]} cannot be loaded: {error}") from error
        for number, row in enumerate(rows):
            yield to_prompt(row, f"{self.name}/{self.split}:{number}", self.columns, self.name)
