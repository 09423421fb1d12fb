"""Prompts from conversations in ShareGPT's form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fusion.prompts.columns import Columns, Trailing
from fusion.prompts.local_file import LocalFile
from fusion.prompts.rows import Row, file_rows


@dataclass(kw_only=True)
class ShareGpt(LocalFile):
    """A .json, .jsonl or .parquet file whose rows have `conversations` of `from` (human, gpt, system) and `value`.

    The prompt is everything up to the last human turn; what follows it is cut (`columns.trailing`).

    Example row: {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"}]}
    """

    columns: Columns = field(
        default_factory=lambda: Columns(messages="conversations", system="system", trailing=Trailing.CUT)
    )

    def rows(self, path: Path) -> Iterator[Row]:
        return file_rows(path)
