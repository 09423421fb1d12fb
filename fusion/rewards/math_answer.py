"""Verifies mathematical answers with math-verify: 1/2 equals 0.5, and \\boxed{} is understood.

Any prompt with a gold answer will do. The library sets alarms, which work on a main thread only, and sympy may take
for ever: it runs in a child process, with our deadline in place of its own.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from fusion.errors import ConfigError
from fusion.prompts.reasoning_gym import parsed_reference
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.child import Child, ChildFailed, ChildTimeout
from fusion.schema import Outcome
from fusion.step import Placement


@dataclass(kw_only=True)
class MathAnswer(Reward):
    """Pass or fail with value 1 or 0. A gold answer that does not parse is an error, not a failure of the response.

    Example: gold "\\frac{1}{2}", reply "so the probability is 0.5.": pass
    """

    is_verifier: ClassVar[bool] = True

    domains: list[str] = field(default_factory=list)
    """Verify prompts of these domains; empty: of all. References elsewhere may be prose, which has numbers too."""
    deadline_s: float = 10.0
    """Time for one answer; then the outcome is timeout."""
    library: str = ""
    """Version of math-verify, which decides what is right; filled in when the config is read."""

    def __post_init__(self) -> None:
        if self.deadline_s <= 0:
            raise ConfigError(f"rewards.math_answer.deadline_s must be above 0, got {self.deadline_s}")

    def resolve(self) -> None:
        self.library = importlib.metadata.version("math-verify")

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        with Child(f"{__name__}:load", self.deadline_s) as child:
            yield _MathScorer(child, self.domains)


class _MathScorer:
    def __init__(self, child: Child, domains: Sequence[str]) -> None:
        self._child = child
        self._domains = domains

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        gold = (candidate.reference or "").strip()
        if not gold or parsed_reference(gold) is not None:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no gold answer")
        if self._domains and candidate.domain not in self._domains:
            return Score(Outcome.NOT_APPLICABLE, None, f"domain {candidate.domain} is not verified")
        try:
            verdict = self._child.ask({"gold": gold, "reply": candidate.text})
        except ChildTimeout as error:
            return Score(Outcome.TIMEOUT, None, str(error))
        except ChildFailed as error:
            return Score(Outcome.ERROR, None, str(error))
        assert isinstance(verdict, dict)
        outcome = Outcome(verdict["outcome"])
        value = {Outcome.PASS: 1.0, Outcome.FAIL: 0.0}.get(outcome)
        return Score(outcome, value, verdict["detail"])


def load() -> Callable[[dict[str, object]], object]:
    """The child's side: `{"gold", "reply"}` -> `{"outcome", "detail"}`."""
    import logging

    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)  # it warns at each call that its own deadline is off

    def score(question: dict[str, object]) -> object:
        gold_text = str(question["gold"])
        gold = parse(_as_math(gold_text), parsing_timeout=None, raise_on_error=True)
        if not gold:
            return {"outcome": Outcome.ERROR, "detail": f"the gold answer {gold_text!r} does not parse"}
        answer = parse(str(question["reply"]), parsing_timeout=None, raise_on_error=True)
        if not answer:
            return {"outcome": Outcome.FAIL, "detail": f"no answer found, expected {gold_text}"}
        # The order matters: (gold, answer).
        if verify(gold, answer, timeout_seconds=None, raise_on_error=True):
            return {"outcome": Outcome.PASS, "detail": None}
        return {"outcome": Outcome.FAIL, "detail": f"answered {answer[-1]}, expected {gold_text}"[:300]}

    score({"gold": "1/2", "reply": "0.5"})  # builds the grammar now, not under the first question's deadline
    return score


def _as_math(gold: str) -> str:
    """A bare LaTeX gold answer is parsed only between dollar signs; a worked solution (GSM8K) ends in `#### 72`."""
    gold = gold.rsplit("####", 1)[-1].strip()
    return gold if "$" in gold or "\\boxed" in gold else f"${gold}$"
