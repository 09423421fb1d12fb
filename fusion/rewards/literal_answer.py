"""Verifies predicted program outputs: the answer is a Python literal that equals the reference.

Both sides are read by `ast.literal_eval`, which runs nothing, and compared by Python's `==`, as the assertion of such
a task is: `[1, 2]` is `[1,2]`, 1.0 is 1, and 1 is True; a tuple is no list. A string may come without its quotes, as
in the JSON reply `"answer": "abc"`, and is then compared to the letter: to the reference `'6,8'` both `6,8` and
`'6,8'` are right, and `6, 8` is wrong.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fusion.prompts.code_reference import holds_tests
from fusion.prompts.implied_domain import is_literal, is_literal_only, is_named, is_record
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.stated_answer import Form, opens_json, stated_answer
from fusion.schema import Outcome
from fusion.step import Placement

_FENCE = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)


class NotLiteralError(ValueError):
    """The text is no Python literal."""


@dataclass(kw_only=True)
class LiteralAnswer(Reward):
    """Pass or fail with value 1 or 0. "No answer found" is a fail; a reference that is no literal is an error in the
    named domains.

    Example: reference "{'a': 1}", reply '{"reasoning": "...", "answer": "{\\"a\\": 1}"}': pass
    """

    is_verifier: ClassVar[bool] = True

    domains: list[str] = field(default_factory=list)
    """Verify prompts of these domains; empty: those whose reference only Python writes ('a', True, ['b', 1])."""
    programs: list[str] = field(default_factory=list, metadata={"absent_when": []})
    """Parts of names of domains that ask what a program gives: there, where `domains` is empty, numbers and lists of
    numbers are verified too, which elsewhere are mathematics."""

    def leave_others(self, programs: Sequence[str]) -> None:
        self.programs = self.programs or list(programs)

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        yield _LiteralScorer(self.domains, self.programs)


class _LiteralScorer:
    def __init__(self, domains: Sequence[str], programs: Sequence[str]) -> None:
        self._domains = domains
        self._programs = programs

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        if not candidate.reference:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no reference")
        if self._domains and candidate.domain not in self._domains:
            return Score(Outcome.NOT_APPLICABLE, None, f"domain {candidate.domain} is not verified")
        reference = candidate.reference.strip()
        if not self._domains and not self._is_mine(reference, candidate.domain):
            return Score(Outcome.NOT_APPLICABLE, None, "the reference is no literal, or another verifier's")
        try:
            gold = literal(reference)
        except NotLiteralError:
            return Score(Outcome.ERROR, None, f"the reference {reference[:100]!r} is no Python literal")
        answer = _answer(candidate.text, candidate.finish_reason == "length")
        if answer is None:
            return Score(Outcome.FAIL, 0.0, f"no answer found, expected {reference}"[:300])
        if _is_right(answer, gold):
            return Score(Outcome.PASS, 1.0)
        return Score(Outcome.FAIL, 0.0, f"answered {answer[:150]}, expected {reference}"[:300])

    def _is_mine(self, reference: str, domain: str) -> bool:
        if is_record(reference) or holds_tests(reference):
            return False
        return is_literal(reference) if is_named(domain, self._programs) else is_literal_only(reference)


def literal(text: str) -> Any:
    """The value of a Python literal, or of the right side of `assert f(...) == literal`.

    Raises:
        NotLiteralError: it is neither.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):  # "1if", "\\d"
            tree = ast.parse(text.strip()).body
        if len(tree) == 1 and isinstance(tree[0], ast.Assert | ast.Expr):
            node = tree[0].test if isinstance(tree[0], ast.Assert) else tree[0].value
            if isinstance(node, ast.Compare) and isinstance(node.ops[-1], ast.Eq):
                node = node.comparators[-1]
            return ast.literal_eval(node)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last two: deep nesting
        pass
    raise NotLiteralError(text)


def _answer(reply: str, is_cut_off: bool) -> str | None:
    stated = stated_answer(reply)
    if stated is None:
        if is_cut_off or opens_json(reply):
            return None
        blocks = _FENCE.findall(reply)
        return (blocks[-1] if blocks else reply).strip() or None
    if stated.form is Form.STATEMENT:
        line = stated.text.split("\n", maxsplit=1)[0].strip()
        return line.removesuffix(".").strip("`")
    return stated.text


def _is_right(answer: str, gold: object) -> bool:
    if isinstance(gold, str) and answer == gold:
        return True
    try:
        return bool(literal(answer) == gold)
    except NotLiteralError:
        return False
