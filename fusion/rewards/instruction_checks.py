"""Verifies instructions that a program can check ("no commas", "at least 300 words"), as IFEval does.

The prompt's reference is JSON: `{"instruction_id_list": [...], "kwargs": [...]}`, with the arguments of each
instruction in order, as in the published data. See `fusion.rewards.instructions.checks`.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.instructions.arguments import InstructionError
from fusion.rewards.instructions.checks import Mode, check
from fusion.schema import Outcome
from fusion.step import Placement


@dataclass(kw_only=True)
class InstructionChecks(Reward):
    """Pass if every instruction is followed; the value is the share that is. A bad reference is an error, not a fail.

    Example: one of two instructions followed: fail, value 0.5, "not followed: punctuation:no_comma"
    """

    is_verifier: ClassVar[bool] = True

    mode: Mode = Mode.STRICT
    """strict: the reply as it is. loose: also without its first or last line, and without asterisks; fewer wrong
    fails ("Sure, here it is:" before the answer), and a few wrong passes."""
    package_version: str = ""
    """Version of langdetect, which decides the language; filled in when the config is read."""

    def resolve(self) -> None:
        self.package_version = importlib.metadata.version("langdetect")

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        yield _InstructionScorer(self.mode)


class _InstructionScorer:
    def __init__(self, mode: Mode) -> None:
        self._mode = mode

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        reference = _parsed(candidate.reference)
        if reference is None:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no instruction_id_list")
        try:
            names, kwargs = _lists(reference)
            followed = check(candidate.text, names, kwargs, self._mode)
        except InstructionError as error:
            return Score(Outcome.ERROR, None, str(error))
        failed = [name for name, is_followed in zip(names, followed, strict=True) if not is_followed]
        if not failed:
            return Score(Outcome.PASS, 1.0)
        return Score(Outcome.FAIL, 1 - len(failed) / len(names), f"not followed: {', '.join(failed)}")


def _parsed(reference: str | None) -> dict[str, object] | None:
    """The reference if it is one of ours: a JSON object that names instructions."""
    try:
        value = json.loads(reference or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) and "instruction_id_list" in value else None


def _lists(reference: dict[str, object]) -> tuple[list[str], list[dict[str, object] | None]]:
    names, kwargs = reference["instruction_id_list"], reference.get("kwargs")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InstructionError(f"instruction_id_list must be a list of at least one name, got {names!r}")
    if not isinstance(kwargs, list) or not all(item is None or isinstance(item, dict) for item in kwargs):
        raise InstructionError(f"kwargs must be a list with the arguments of each instruction, got {kwargs!r}")
    return names, kwargs
