"""Prompts from a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fusion.prompts.local_file import LocalFile
from fusion.prompts.rows import Row, parquet_rows


@dataclass(kw_only=True)
class Parquet(LocalFile):
    """One prompt a row; rows are named `file.parquet:0`, `file.parquet:1`, ... in errors and DROP rows."""

    def rows(self, path: Path) -> Iterator[Row]:
        return parquet_rows(path)
