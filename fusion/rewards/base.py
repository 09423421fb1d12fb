"""The contract of a reward: verifiers and reward models alike.

A `Reward` is configuration; `open` yields a `Scorer`. A verifier answers with one of five outcomes and may add a value;
a reward model answers `not_applicable` with a value. An exception is never a score: a scorer says error or timeout
for a row it could not decide, and raises only when it is broken itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Protocol

from fusion.schema import Outcome
from fusion.step import Placement


@dataclass(frozen=True, slots=True)
class Candidate:
    """One response with what a scorer may look at."""

    prompt_id: str
    messages: tuple[dict[str, str], ...]
    domain: str
    dataset: str
    reference: str | None
    source: str
    sample_index: int
    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Score:
    """What a scorer says of one candidate.

    Example: Score(Outcome.FAIL, 0.0, "answered 7, expected 8")
    """

    outcome: Outcome
    value: float | None = None
    detail: str | None = None


class Scorer(Protocol):
    """A loaded reward. The score of a candidate does not depend on what else is in the batch."""

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        """One score a candidate, in order."""
        ...


@dataclass(kw_only=True)
class Reward(ABC):
    """Base of all rewards."""

    is_verifier: ClassVar[bool] = False
    """Whether it answers pass and fail."""
    uses_model: ClassVar[bool] = False
    """Whether it loads a model, and so runs in the model pool rather than with the CPU verifiers."""
    is_gated: ClassVar[bool] = False
    """Whether it is a reward model's score, which passes the gates of `fusion.trust` before rows are ranked by it."""

    def resolve(self) -> None:  # noqa: B027 (most rewards have nothing to complete)
        """Complete what identity needs (e.g. the digest of a local model folder); called once, before planning."""

    def leave_others(self, programs: Sequence[str]) -> None:  # noqa: B027 (most verifiers know their own references)
        """Judge no reference that is another verifier's, so that no answer of a file has two verdicts.

        Args:
            programs: parts of names of domains that ask what a program gives.
        """

    @abstractmethod
    def open(self, cache: str, placement: Placement) -> AbstractContextManager[Scorer]:
        """Load it; heavy imports happen here. `cache` is the folder of prepared models."""
