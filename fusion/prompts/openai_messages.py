"""Prompts from conversations in the form of OpenAI's chat API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fusion.prompts.columns import Columns, Trailing
from fusion.prompts.local_file import LocalFile
from fusion.prompts.rows import Row, file_rows


@dataclass(kw_only=True)
class OpenaiMessages(LocalFile):
    """A .json, .jsonl or .parquet file whose rows have `messages` of `role` (system, user, assistant) and `content`.

    The prompt is everything up to the last user turn; what follows it is cut (`columns.trailing`).

    Example row: {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]}
    """

    columns: Columns = field(default_factory=lambda: Columns(trailing=Trailing.CUT))

    def rows(self, path: Path) -> Iterator[Row]:
        return file_rows(path)
