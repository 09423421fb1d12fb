"""Runs the program in a response on a contest's cases: it reads and prints, or a function is called (LiveCodeBench)."""

from __future__ import annotations

from dataclasses import dataclass

from fusion.rewards.base import Candidate, Score
from fusion.rewards.code_blocks import extract
from fusion.rewards.code_reference import BadReference
from fusion.rewards.code_tests import CodeTests, unrun
from fusion.rewards.contest_cases import CHECKS, contest_cases
from fusion.sandbox.session import Case
from fusion.schema import Outcome


@dataclass(kw_only=True)
class ContestTests(CodeTests):
    """As `code_tests`, for references of contest problems (`fusion.rewards.contest_cases`).

    Each case of a program that reads and prints runs in a process of its own, with `limits.cpu_s`; one that uses more
    fails, as in a contest. `limits.deadline_s` is for all cases together, and passing it is a timeout.

    Example: cases "1 2" -> "3", reply "```python\\nprint(sum(map(int, input().split())))\\n```": pass
    """

    def case(self, candidate: Candidate) -> Case | Score:
        try:
            cases = contest_cases(candidate.reference)
        except BadReference as error:
            return Score(Outcome.ERROR, None, str(error))
        if cases is None:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no contest cases")
        found = extract(candidate.text, [])
        if found.program is None:
            return unrun(found)
        return Case(program=cases.program(found.program), tests=cases.tests, setup=CHECKS)
