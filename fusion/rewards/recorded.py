"""A reward that was measured before and came with the answers: looked up, not computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from omegaconf import MISSING

from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.schema import Outcome, hash_text
from fusion.step import Placement
from fusion.stored import StoredResponses


@dataclass(kw_only=True)
class Recorded(Reward):
    """The number under `name` in the column `rewards` of a file of answers; not applicable where there is none."""

    is_gated: ClassVar[bool] = True

    stored: StoredResponses = field(default_factory=StoredResponses)
    name: str = MISSING

    def resolve(self) -> None:
        self.stored.resolve()

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        values = {
            (answer.prompt_id, answer.source, answer.sample_index): (hash_text(answer.text), answer.rewards[self.name])
            for answer in self.stored.answers()
            if self.name in answer.rewards
        }
        yield _RecordedScorer(values, self.name)


class _RecordedScorer:
    def __init__(self, values: Mapping[tuple[str, str, int], tuple[str, float]], name: str) -> None:
        self._values = values
        self._name = name

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        found = self._values.get((candidate.prompt_id, candidate.source, candidate.sample_index))
        if found is None or found[0] != hash_text(candidate.text):
            return Score(Outcome.NOT_APPLICABLE, None, f"the file has no {self._name} of this answer")
        return Score(Outcome.NOT_APPLICABLE, found[1])
