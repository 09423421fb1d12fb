"""Prompts in Alpaca's form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fusion.prompts.columns import Columns
from fusion.prompts.local_file import LocalFile
from fusion.prompts.rows import Row, file_rows


@dataclass(kw_only=True)
class Alpaca(LocalFile):
    """A .json, .jsonl or .parquet file of `instruction`, `input` (may be empty) and `output`.

    The prompt is the instruction, an empty line, and the input. The output is an answer of somebody's, no gold answer:
    it is kept as an existing response; set `columns.reference=output` where it is gold.

    Example row: {"instruction": "Translate to French.", "input": "Good morning", "output": "Bonjour"}
    """

    columns: Columns = field(
        default_factory=lambda: Columns(prompt="instruction", input="input", system="system", response="output")
    )

    def rows(self, path: Path) -> Iterator[Row]:
        return file_rows(path)
