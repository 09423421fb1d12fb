"""Verifies programs by running their tests in a sandbox (`fusion.sandbox`), never without one.

A program passes if it parses, its imports can be resolved, and all tests pass; one that needs a package which the
sandbox lacks is an error, for nothing is known of it. A failure is believed after it was seen
`reruns` more times, since tests may draw numbers; a timeout is no failure and ends the judging as what it is.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import ClassVar

from fusion.errors import ConfigError, EngineError
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.code_blocks import Extracted, extract
from fusion.rewards.code_reference import BadReference, code_reference
from fusion.sandbox.launch import Limits
from fusion.sandbox.session import Case, Sandbox, Verdict
from fusion.schema import Outcome
from fusion.step import Placement

VALUES = {Outcome.PASS: 1.0, Outcome.FAIL: 0.0}


@dataclass(kw_only=True)
class CodeTests(Reward):
    """Pass or fail with value 1 or 0. Tests that do not parse are an error, not a failure of the response.

    Example: reference '["assert double(2) == 4"]', reply "```python\\ndef double(n): return n + n\\n```": pass
    """

    is_verifier: ClassVar[bool] = True

    domains: list[str] = field(default_factory=list)
    """Verify prompts of these domains; empty: of all whose reference has tests."""
    reruns: int = 2
    """How often a failure is run again before it is believed; one run that passes is a pass."""
    limits: Limits = field(default_factory=Limits)
    """What one program may use."""
    python: str = ""
    """Version of Python, which decides what runs; filled in when the config is read."""

    def __post_init__(self) -> None:
        if self.reruns < 0:
            raise ConfigError(f"rewards.code_tests.reruns must be 0 or more, got {self.reruns}; type reruns=2")

    def resolve(self) -> None:
        self.python = platform.python_version()

    def case(self, candidate: Candidate) -> Case | Score:
        """What is to be run, or the score where nothing is."""
        try:
            reference = code_reference(candidate.reference, candidate.messages[-1]["content"])
        except BadReference as error:
            return Score(Outcome.ERROR, None, str(error))
        if reference is None:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no tests")
        found = extract(candidate.text, reference.needed, reference.prompt)
        if found.program is None:
            return unrun(found)
        return Case(
            program=found.program,
            tests=reference.tests,
            entry_point=reference.entry_point,
            setup=reference.setup,
        )

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        """One program at a time for each CPU of the placement.

        A recipe that names domains is known to have programs, and refuses now where no sandbox can be made; any other
        may meet none, and refuses at the first.

        Raises:
            ConfigError: no sandbox can be made here; nothing is run without one.
        """
        with ExitStack() as stack:
            scorer = _CodeScorer(self, max(1, int(placement.cpus)), stack)
            if self.domains:
                scorer.start()
            yield scorer


def unrun(found: Extracted) -> Score:
    """The score of a reply without a program that can be run."""
    outcome = Outcome.FAIL if found.is_wrong else Outcome.ERROR
    return Score(outcome, VALUES.get(outcome), found.problem)


class _CodeScorer:
    def __init__(self, config: CodeTests, width: int, stack: ExitStack) -> None:
        self._config = config
        self._stack = stack
        self._lock = threading.Lock()
        # Sandboxes end with the thread that starts them; these threads last as long as the scorer.
        self._threads = stack.enter_context(ThreadPoolExecutor(width))
        self._local = threading.local()

    def start(self) -> None:
        """Refuse now where no sandbox can be made, not at the first program."""
        self._threads.submit(self._sandbox).result()

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return list(self._threads.map(self._score, candidates))

    def _score(self, candidate: Candidate) -> Score:
        if self._config.domains and candidate.domain not in self._config.domains:
            return Score(Outcome.NOT_APPLICABLE, None, f"domain {candidate.domain} is not verified")
        case = self._config.case(candidate)
        if isinstance(case, Score):
            return case
        verdict = self._run(case)
        return Score(verdict.outcome, VALUES.get(verdict.outcome), verdict.detail)

    def _run(self, case: Case) -> Verdict:
        sandbox = self._sandbox()
        verdict = sandbox.judge(case)
        for run in range(1, self._config.reruns + 1):
            if verdict.outcome is not Outcome.FAIL:
                break
            verdict = sandbox.judge(replace(case, seed=run))
        return verdict

    def _sandbox(self) -> Sandbox:
        if not hasattr(self._local, "sandbox"):
            try:
                with self._lock:
                    self._local.sandbox = self._stack.enter_context(Sandbox(self._config.limits))
            except EngineError as error:  # this machine's fault, which another process here would not mend
                raise ConfigError(f"rewards.code_tests: {error}") from error
        mine: Sandbox = self._local.sandbox
        return mine
