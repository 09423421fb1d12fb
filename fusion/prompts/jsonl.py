"""Prompts from a JSON-lines file, plain or gzipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fusion.prompts.local_file import LocalFile
from fusion.prompts.rows import Row, jsonl_rows


@dataclass(kw_only=True)
class Jsonl(LocalFile):
    """One object a line, in a file ending in .jsonl or .jsonl.gz; rows are named `file.jsonl:1`, ...

    Example line: {"prompt": "What is 3 + 4?", "reference": "7", "domain": "math"}
    """

    def rows(self, path: Path) -> Iterator[Row]:
        return jsonl_rows(path)
