"""Fails answers that must not be trained on: another model's identity, leaked reasoning or template tokens, secrets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from fusion.hygiene.scan import scan
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.schema import Outcome
from fusion.step import Placement


@dataclass(kw_only=True)
class CleanText(Reward):
    """Pass or fail, without a value; `selection.clean_by=[clean_text]` keeps what fails out of training.

    Example: reply "I am Qwen, made by Alibaba.": fail, "identity: I am Qwen"
    """

    is_verifier: ClassVar[bool] = True

    own_names: list[str] = field(default_factory=list)
    """Names that the target may call itself and its maker."""

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        yield _CleanScorer(self.own_names)


class _CleanScorer:
    def __init__(self, own_names: Sequence[str]) -> None:
        self._own_names = own_names

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        asked = "\n".join(message["content"] for message in candidate.messages)
        found = scan(candidate.text, asked, self._own_names)
        if not found:
            return Score(Outcome.PASS)
        return Score(Outcome.FAIL, None, "; ".join(f"{one.kind}: {one.detail}" for one in found)[:300])
