"""Pairs of answers with labels, by which judges are measured; `conf/labelled/llmbar.yaml` is an example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.prompts.items import Aside
from fusion.prompts.row_template import holds, render
from fusion.prompts.rows import file_rows


@dataclass(kw_only=True)
class StoredRater:
    """Whose scores stand beside the labels: a reward model, a person, a judge that can be called no more."""

    first: str = MISSING
    """Template of the score of the first answer."""
    second: str = MISSING
    label: str = ""
    """What it is compared with; empty: the set's label."""
    where: str = ""
    """Rows that count; empty: the set's."""


@dataclass(kw_only=True)
class LabelledSet:
    """One file with a pair of answers a row. Templates are those of `fusion.prompts.row_template`."""

    title: str = MISSING
    labels_of: str = MISSING
    """Who gave the labels, and whether it can be asked again."""
    path: str = ""
    """The file."""
    where: str = ""
    """Condition that a row must meet."""
    label: str = MISSING
    """1: the first answer is better, 0: the second is, 0.5: neither; with probabilities, anything between."""
    question: str = ""
    """What was asked; empty: the texts are not in the file, so no judge can be asked."""
    first: str = ""
    second: str = ""
    """The answers. Further variable: `aside`, a row or none."""
    item: str = ""
    """Name by which `aside` finds its row."""
    aside: Aside = field(default_factory=Aside)
    group: str = ""
    """Part of the set that is reported on its own; empty: there are no parts."""
    raters: dict[str, StoredRater] = field(default_factory=dict)

    @property
    def has_texts(self) -> bool:
        """Whether a judge can be asked."""
        return bool(self.question and self.first and self.second)

    def pairs(self, limit: int = 0) -> list[TextPair]:
        """The pairs in the order of the file.

        Args:
            limit: so many, evenly spread over the file; 0: all.

        Raises:
            ConfigError: the file is not at hand, or a template does not fit a row.
        """
        found = list(self._pairs())
        if not limit or limit >= len(found):
            return found
        return [found[number * len(found) // limit] for number in range(limit)]

    def _pairs(self) -> Iterator[TextPair]:
        others = self._others()
        for key, row in file_rows(Path(self.path)):
            if not isinstance(row, Mapping) or not holds(self.where, row, key):
                continue
            aside = others.get(render(self.item, row, key)) if others else None
            yield TextPair(
                key=key,
                question=render(self.question, row, key, aside=aside),
                first=render(self.first, row, key, aside=aside),
                second=render(self.second, row, key, aside=aside),
                label=number(render(self.label, row, key), key),
                group=render(self.group, row, key) if self.group else "",
            )

    def _others(self) -> dict[str, Mapping[str, object]]:
        found: dict[str, Mapping[str, object]] = {}
        for key, row in file_rows(Path(self.aside.path)) if self.aside.path else ():
            if isinstance(row, Mapping):
                found.setdefault(render(self.aside.item, row, key), row)
        return found


@dataclass(frozen=True, slots=True)
class TextPair:
    """Example: TextPair("llmbar.jsonl:1", "Sum up ...", "My girlfriend's ...", "The UK ...", 1.0, "LLMBar/Natural")"""

    key: str
    question: str
    first: str
    second: str
    label: float
    group: str


def number(text: str, key: str) -> float:
    """Raises:
    ConfigError: a template gave no number.
    """
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{key}: {text[:40]!r} is no number; mend the template") from error
