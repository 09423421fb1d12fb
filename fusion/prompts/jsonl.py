"""Prompts from a JSON-lines file, plain or gzipped."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt
from fusion.prompts.columns import Columns, to_prompt
from fusion.prompts.digest import file_digest


@dataclass(kw_only=True)
class Jsonl(Prompts):
    """One object a line.

    Example line: {"prompt": "What is 3 + 4?", "reference": "7", "domain": "math"}
    """

    path: str = field(default=MISSING, metadata={"identity": False})
    """The file, ending in .jsonl or .jsonl.gz; where it lies bears no identity."""
    columns: Columns = field(default_factory=Columns)
    digest: str = ""
    """sha256 of the file; filled in when the config is read. Given by hand, the file must match it."""

    def resolve(self) -> None:
        self.digest = file_digest(self.path, self.digest)

    def read(self) -> Iterator[RawPrompt]:
        path = Path(self.path)
        stem = path.name.removesuffix(".gz").removesuffix(".jsonl")
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            try:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        key = f"{path.name}:{number}"
                        yield to_prompt(_parsed(line, f"{path}:{number}"), key, self.columns, stem)
            except (gzip.BadGzipFile, EOFError) as error:
                raise ConfigError(f"{path} is not a whole gzip file: {error}") from error


def _parsed(line: bytes, where: str) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: byte {error.start + 1} is not UTF-8; convert the file, e.g. with iconv") from error
    except ValueError as error:
        raise ConfigError(f"{where}: malformed JSON ({error}); one object a line is expected") from error
