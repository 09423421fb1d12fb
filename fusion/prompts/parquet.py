"""Prompts from a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt
from fusion.prompts.columns import Columns, to_prompt
from fusion.prompts.digest import file_digest


@dataclass(kw_only=True)
class Parquet(Prompts):
    """One prompt a row; rows are named `file.parquet:0`, `file.parquet:1`, ... in errors and DROP rows."""

    path: str = field(default=MISSING, metadata={"identity": False})
    """The file; where it lies bears no identity."""
    columns: Columns = field(default_factory=Columns)
    digest: str = ""
    """sha256 of the file; filled in when the config is read. Given by hand, the file must match it."""

    def resolve(self) -> None:
        self.digest = file_digest(self.path, self.digest)

    def read(self) -> Iterator[RawPrompt]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(self.path)
        number = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=1024):
                    for row in batch.to_pylist():
                        yield to_prompt(row, f"{path.name}:{number}", self.columns, path.stem)
                        number += 1
        except (pa.ArrowInvalid, OSError) as error:
            raise ConfigError(f"{path} cannot be read as Parquet: {error}") from error
