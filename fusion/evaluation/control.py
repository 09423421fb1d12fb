"""What a win rate under control needs beside verdicts: the baseline's answers and how hard instructions are."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fusion.errors import ConfigError
from fusion.evaluation.length_controlled import LengthControl, difficulty
from fusion.evaluation.style import Style, style
from fusion.outputs import Outputs
from fusion.prompts.digest import file_digest
from fusion.prompts.row_template import render


@dataclass(kw_only=True)
class Difficulty:
    """Difficulties of instructions: a CSV file (.gz as well) with a row an item."""

    path: str = field(default="", metadata={"identity": False})
    """Empty: they are not known."""
    item: str = "{{ item }}"
    """Name of the item."""
    value: str = ""
    """Template of the difficulty itself; empty: all other columns that hold numbers are preferences of models over the
    baseline, from which it is estimated."""
    without: list[str] = field(default_factory=list)
    """Columns that are left out: models that game the judge."""
    digest: str = field(default="", metadata={"absent_when": ""})


@dataclass(kw_only=True)
class Control:
    """Of a benchmark whose metric is a win rate under control."""

    baseline: Outputs = field(default_factory=Outputs)
    """Answers of the model that all are compared with."""
    baseline_source: str = ""
    """Whose of them; empty: anybody's."""
    difficulty: Difficulty = field(default_factory=Difficulty)
    length: LengthControl = field(default_factory=LengthControl)

    def resolve(self) -> None:
        self.baseline.resolve()
        if self.difficulty.path:
            self.difficulty.digest = file_digest(self.difficulty.path, self.difficulty.digest)

    def styles(self, ids: Mapping[str, str]) -> dict[str, Style]:
        """prompt_id -> style of the baseline's answer.

        Args:
            ids: name of an item, or what it asks -> prompt_id.

        Raises:
            ConfigError: there is no file of them.
        """
        if not self.baseline.path:
            raise ConfigError("control.baseline.path is not set: without the baseline's answers nothing is controlled")
        found: dict[str, Style] = {}
        for answer in self.baseline.answers():
            if answer.item in ids and answer.source == (self.baseline_source or answer.source):
                found.setdefault(ids[answer.item], style(answer.text))
        return found

    def difficulties(self, ids: Mapping[str, str]) -> dict[str, float]:
        """prompt_id -> difficulty; empty where there is no file."""
        if not self.difficulty.path:
            return {}
        rows = list(_csv_rows(Path(self.difficulty.path)))
        names = [render(self.difficulty.item, row, f"{self.difficulty.path}:{i}") for i, row in enumerate(rows)]
        if self.difficulty.value:
            values = [float(render(self.difficulty.value, row, name)) for row, name in zip(rows, names, strict=True)]
        else:
            columns = [c for c in rows[0] if c not in self.difficulty.without and all(_is_number(r[c]) for r in rows)]
            table_NM = np.array([[float(row[c]) if row[c] else np.nan for c in columns] for row in rows])
            values = [float(value) for value in difficulty(table_NM)]
        return {ids[name]: value for name, value in zip(names, values, strict=True) if name in ids}


def _is_number(text: str) -> bool:
    try:
        return not text or bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        yield from csv.DictReader(file)
