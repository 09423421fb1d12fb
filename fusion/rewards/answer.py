"""Verifies answers to reasoning-gym prompts with the library's own `score_answer`.

The prompt's reference holds the entry (see `fusion.prompts.reasoning_gym`); the answer is taken from the reply by
`fusion.rewards.extraction`. Both run in a child process under a deadline.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

from fusion.errors import ConfigError
from fusion.prompts.reasoning_gym import MARK, parsed_reference, verifier_of
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.child import Child, ChildFailed, ChildTimeout
from fusion.rewards.extraction import final_answer
from fusion.schema import Outcome
from fusion.step import Placement


@dataclass(kw_only=True)
class Answer(Reward):
    """Pass or fail, with the library's score in [0, 1] as value.

    Example: reply "The sum of 3 and 4 is 7.", expected 8: fail, value 0, "answered 7, expected 8"
    """

    is_verifier: ClassVar[bool] = True

    threshold: float = 1.0
    """Score from which an answer passes; below 1 partly right answers pass."""
    deadline_s: float = 10.0
    """Time for one answer; then the outcome is timeout."""
    package_version: str = ""
    """Version of reasoning-gym, which decides what is right; filled in when the config is read."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ConfigError(f"rewards.answer.threshold must be in (0, 1], got {self.threshold}")
        if self.deadline_s <= 0:
            raise ConfigError(f"rewards.answer.deadline_s must be above 0, got {self.deadline_s}")

    def resolve(self) -> None:
        self.package_version = importlib.metadata.version("reasoning-gym")

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        with Child(f"{__name__}:load", self.deadline_s) as child:
            yield _AnswerScorer(child, self.threshold)


class _AnswerScorer:
    def __init__(self, child: Child, threshold: float) -> None:
        self._child = child
        self._threshold = threshold

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        entry = parsed_reference(candidate.reference)
        if entry is None:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no reasoning-gym entry")
        expected = str(entry["answer"])
        answer = final_answer(candidate.text, expected, candidate.finish_reason == "length")
        if answer is None:
            return Score(Outcome.FAIL, 0.0, f"no answer found, expected {expected}")
        entry["question"] = candidate.messages[-1]["content"]
        try:
            value = float(str(self._child.ask({"answer": answer, "entry": entry})))
        except ChildTimeout as error:
            return Score(Outcome.TIMEOUT, None, str(error))
        except ChildFailed as error:
            return Score(Outcome.ERROR, None, str(error))
        if value >= self._threshold:
            return Score(Outcome.PASS, value)
        return Score(Outcome.FAIL, value, f"answered {answer}, expected {expected}")


def load() -> Callable[[dict[str, object]], object]:
    """The child's side: `{"answer", "entry"}` -> score."""
    cached = cache(verifier_of)
    cached("gcd")  # imports the library now, not under the first question's deadline

    def score(question: dict[str, object]) -> object:
        entry, answer = question["entry"], question["answer"]
        assert isinstance(entry, dict)
        assert isinstance(answer, str)
        return cached(str(entry[MARK])).score_answer(answer, entry)

    return score
