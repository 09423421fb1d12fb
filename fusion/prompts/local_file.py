"""What all prompts from a local file share: the path, the digest that is its identity, and the mapping of columns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from fusion.prompts.base import Prompts, RawPrompt
from fusion.prompts.columns import Columns, to_prompt
from fusion.prompts.digest import file_digest
from fusion.prompts.rows import Row, stem


@dataclass(kw_only=True)
class LocalFile(Prompts):
    """Base of the adapters for one file; a subclass says how its rows are read, and which columns it expects."""

    path: str = field(default=MISSING, metadata={"identity": False})
    """The file; where it lies bears no identity."""
    columns: Columns = field(default_factory=Columns)
    digest: str = ""
    """sha256 of the file; filled in when the config is read. Given by hand, the file must match it."""

    def resolve(self) -> None:
        self.digest = file_digest(self.path, self.digest)

    @abstractmethod
    def rows(self, path: Path) -> Iterator[Row]:
        """Named rows of the file."""

    def read(self) -> Iterator[RawPrompt]:
        path = Path(self.path)
        for key, row in self.rows(path):
            yield to_prompt(row, key, self.columns, stem(path))

    def domains(self) -> set[str] | None:
        return {prompt.domain for prompt in map(self.admit, self.read()) if isinstance(prompt, RawPrompt)}
