"""Scores that somebody else gave and stored: a file with one row an answer, looked up by question, source and answer.

For judges that can no longer be called: their published annotations still say what they said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from fusion.errors import ConfigError
from fusion.prompts.digest import file_digest
from fusion.prompts.row_template import holds, render
from fusion.prompts.rows import file_rows
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.schema import Outcome, hash_text
from fusion.step import Placement


@dataclass(kw_only=True)
class Annotated(Reward):
    """The number in the file; not applicable where it has none of this answer. Templates: `prompts.row_template`."""

    is_gated: ClassVar[bool] = True

    path: str = field(default="", metadata={"identity": False})
    """The file (.jsonl, .json, .parquet, also .gz)."""
    question: str = "{{ instruction }}"
    """The last user message, as it was asked."""
    source: str = "{{ source }}"
    response: str = "{{ response }}"
    value: str = "{{ preference }}"
    where: str = ""
    """Condition (a Jinja expression) that a row must meet: `preference is not none`."""
    digest: str = ""
    """sha256 of the file; filled in when the config is read."""

    def resolve(self) -> None:
        if not self.path:
            raise ConfigError("reward.path is not set: name the file of annotations")
        self.digest = file_digest(self.path, self.digest)

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        values: dict[str, float] = {}
        for key, row in file_rows(Path(self.path)):
            if isinstance(row, Mapping) and holds(self.where, row, key):
                parts = (render(text, row, key) for text in (self.question, self.source, self.response))
                values[hash_text(*parts)] = float(render(self.value, row, key))
        yield _AnnotatedScorer(values)


class _AnnotatedScorer:
    def __init__(self, values: Mapping[str, float]) -> None:
        self._values = values

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        key = hash_text(candidate.messages[-1]["content"], candidate.source, candidate.text)
        value = self._values.get(key)
        detail = "the file has no annotation of this answer" if value is None else None
        return Score(Outcome.NOT_APPLICABLE, value, detail)
