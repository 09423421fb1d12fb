r"""Verifies mathematical answers: 1/2 equals 0.5, and \boxed{}, JSON and "the answer is" are understood.

Any prompt with a gold answer will do; `math_equality.judge` says how a reply is read and compared. math-verify sets
alarms, which work on a main thread only, and sympy may take for ever: both run in a child process, with our deadline
in place of theirs.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

from fusion.errors import ConfigError
from fusion.prompts.code_reference import holds_tests
from fusion.prompts.implied_domain import is_literal, is_literal_only, is_named
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.child import Child, ChildFailed, ChildTimeout
from fusion.schema import Outcome
from fusion.step import Placement


@dataclass(kw_only=True)
class MathAnswer(Reward):
    """Pass or fail with value 1 or 0. "No answer found" is a fail; a gold answer that does not parse is an error.

    Example: gold "\\frac{1}{2}", reply "so the probability is 0.5.": pass
    """

    is_verifier: ClassVar[bool] = True

    domains: list[str] = field(default_factory=list)
    """Verify prompts of these domains; empty: of all. References elsewhere may be prose, which has numbers too."""
    leaves_others: bool = field(default=False, metadata={"absent_when": False})
    """Whether other verifiers judge prompts of the same run: a letter of a choice, tests, and what only Python writes
    ('a', True, ['b', 1]) are left to them, so that no answer has two verdicts."""
    programs: list[str] = field(default_factory=list, metadata={"absent_when": []})
    """Parts of names of domains that ask what a program gives: there, numbers and lists are Python's too."""
    deadline_s: float = 10.0
    """Time for one answer; then the outcome is timeout."""
    package_version: str = ""
    """Version of math-verify, which decides what is right; filled in when the config is read."""

    def __post_init__(self) -> None:
        if self.deadline_s <= 0:
            raise ConfigError(f"rewards.math_answer.deadline_s must be above 0, got {self.deadline_s}")

    def resolve(self) -> None:
        self.package_version = importlib.metadata.version("math-verify")

    def leave_others(self, programs: Sequence[str]) -> None:
        self.leaves_others = True
        self.programs = self.programs or list(programs)

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        with Child(f"{__name__}:load", self.deadline_s) as child:
            yield _MathScorer(child, self)


class _MathScorer:
    def __init__(self, child: Child, config: MathAnswer) -> None:
        self._child = child
        self._config = config

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        gold = (candidate.reference or "").strip()
        if not gold or gold.startswith('{"'):  # an entry, tests or choices: other verifiers read those
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no gold answer")
        if self._config.leaves_others and _is_others(gold, candidate.domain, self._config.programs):
            return Score(Outcome.NOT_APPLICABLE, None, "the gold answer is another verifier's")
        if self._config.domains and candidate.domain not in self._config.domains:
            return Score(Outcome.NOT_APPLICABLE, None, f"domain {candidate.domain} is not verified")
        question = {"gold": gold, "reply": candidate.text, "is_cut_off": candidate.finish_reason == "length"}
        try:
            verdict = self._child.ask(question)
        except ChildTimeout as error:
            return Score(Outcome.TIMEOUT, None, str(error))
        except ChildFailed as error:
            return Score(Outcome.ERROR, None, str(error))
        assert isinstance(verdict, dict)
        outcome = Outcome(verdict["outcome"])
        value = {Outcome.PASS: 1.0, Outcome.FAIL: 0.0}.get(outcome)
        return Score(outcome, value, verdict["detail"])


def _is_others(gold: str, domain: str, programs: Sequence[str]) -> bool:
    if re.fullmatch("[A-J]", gold) or holds_tests(gold):
        return True
    if is_named(domain, programs):
        return is_literal(gold)
    return is_literal_only(gold) and not gold.startswith('["')  # a JSON list of texts may be accepted answers


def load() -> Callable[[dict[str, object]], object]:
    """The child's side: `{"gold", "reply", "is_cut_off"}` -> `{"outcome", "detail"}`."""
    import logging

    from fusion.rewards.math_equality import judge

    logging.disable(logging.CRITICAL)  # math-verify warns that its own deadline is off

    def score(question: dict[str, object]) -> object:
        verdict = judge(str(question["gold"]), str(question["reply"]), bool(question["is_cut_off"]))
        return {"outcome": verdict.outcome, "detail": verdict.detail}

    judge("x+1", "1+x", False)  # builds the grammar now, not under the first question's deadline
    return score
