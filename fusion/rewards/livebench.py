"""Verifies replies to the items of LiveBench, release 2024-08-31 (arXiv 2406.19314), each by the rules of its task.

The prompt's reference is what `livebench_tasks.item` reads. Programs run in the sandbox as `contest_tests` runs them,
formulas are compared in a child process as `math_answer` does, and instructions are `instruction_checks`'s.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar

from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.child import Child, ChildFailed, ChildTimeout
from fusion.rewards.code_reference import BadReference
from fusion.rewards.contest_tests import ContestTests
from fusion.rewards.instruction_checks import InstructionChecks
from fusion.rewards.livebench_tasks import amps_hard
from fusion.rewards.livebench_tasks.coding import FENCE, program
from fusion.rewards.livebench_tasks.item import AMPS_HARD, CODING, INSTRUCTIONS, Item, parsed_item
from fusion.rewards.stated_answer import without_reasoning
from fusion.sandbox.launch import Limits
from fusion.schema import Outcome
from fusion.step import Placement


@dataclass(kw_only=True)
class Livebench(Reward):
    """The value is LiveBench's score of the item, 0 to 1; pass if it is 1. An unreadable reference is an error.

    Example: task connections, two of four groups found: fail, value 0.5
    """

    is_verifier: ClassVar[bool] = True

    limits: Limits = field(default_factory=Limits)
    """What one program may use."""
    deadline_s: float = 10.0
    """Time for one formula; then the outcome is timeout."""
    versions: str = ""
    """Of what decides what is right; filled in when the config is read."""

    def resolve(self) -> None:
        packages = [f"{name} {importlib.metadata.version(name)}" for name in ("langdetect", "math-verify", "pandas")]
        self.versions = ", ".join([*packages, f"python {platform.python_version()}"])

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        programs = ContestTests(reruns=0, limits=self.limits)
        with (
            programs.open(cache, placement) as contest,
            InstructionChecks().open(cache, placement) as instructions,
            Child(f"{amps_hard.__name__}:load", self.deadline_s) as child,
        ):
            yield _LivebenchScorer(contest, instructions, child)


class _LivebenchScorer:
    def __init__(self, contest: Scorer, instructions: Scorer, child: Child) -> None:
        self._contest = contest
        self._instructions = instructions
        self._child = child

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        found = [self._score(candidate) for candidate in candidates]
        verdicts = iter(self._contest.score([one for one in found if isinstance(one, Candidate)]))
        return [next(verdicts) if isinstance(one, Candidate) else one for one in found]

    def _score(self, candidate: Candidate) -> Score | Candidate:
        """The score; of coding, the program that is to be run."""
        try:
            item = parsed_item(candidate.reference, candidate.messages[-1]["content"])
            if item is None:
                return Score(Outcome.NOT_APPLICABLE, None, "the prompt is no item of LiveBench")
            reply = without_reasoning(candidate.text)
            if item.task in CODING:
                return _program(candidate, item, reply)
            if item.task in INSTRUCTIONS:
                return self._followed(replace(candidate, text=reply.strip()), item)
            if item.task == AMPS_HARD:
                return self._formula(item.gold, reply)
            return _scored(item.value(reply), item.gold)
        except BadReference as error:
            return Score(Outcome.ERROR, None, str(error))

    def _formula(self, gold: str, reply: str) -> Score:
        answer = amps_hard.answered(reply)
        if answer is None:
            return _scored(None, gold)
        try:
            verdict = self._child.ask({"gold": gold, "answer": answer})
        except ChildTimeout as error:
            return Score(Outcome.TIMEOUT, None, str(error))
        except ChildFailed as error:
            return Score(Outcome.ERROR, None, str(error))
        assert isinstance(verdict, dict)
        outcome = Outcome(verdict["outcome"])
        return Score(outcome, {Outcome.PASS: 1.0, Outcome.FAIL: 0.0}.get(outcome), verdict["detail"])

    def _followed(self, candidate: Candidate, item: Item) -> Score:
        """Mean of whether all instructions are followed and of the share that is.

        Facts: livebench/process_results/instruction_following/utils.py, which has IFEval's strict checks.
        """
        if "instruction_id_list" not in item.fields:
            raise BadReference("the item has no instruction_id_list")
        (found,) = self._instructions.score([candidate])
        if found.value is None:
            return found
        return replace(found, value=(float(found.outcome is Outcome.PASS) + found.value) / 2)


def _program(candidate: Candidate, item: Item, reply: str) -> Candidate | Score:
    if "public_test_cases" not in item.fields:
        raise BadReference("the item has no public_test_cases")
    found = program(reply, str(item.fields.get("partial_solution") or ""))
    if found is None:
        return Score(Outcome.FAIL, 0.0, "no code found between two fences")
    return replace(candidate, text=f"{FENCE}python\n{found}\n{FENCE}")


def _scored(value: float | None, gold: str) -> Score:
    if value is None:
        return Score(Outcome.FAIL, 0.0, f"no answer found, expected {gold}"[:300])
    if value == 1.0:
        return Score(Outcome.PASS, 1.0)
    return Score(Outcome.FAIL, value, f"{value:.0%} right, expected {gold}"[:300])
