"""Which domain a prompt is of, told by its reference alone, for answers that come without one."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Sequence
from functools import lru_cache

from fusion.prompts.code_reference import holds_tests

_LETTER = re.compile(r"[A-J]")
_FORMULA = re.compile(r"\d|\\[a-zA-Z]+|[=^]|√|π|∞")
_STATES_ONE = re.compile(r"####|\\boxed")
_RECORDS = ({"tests"}, {"answer", "options"}, {"instruction_id_list"}, {"reasoning_gym"})
_MOST_CHARACTERS = 120
"""Longer references without a marked answer are prose that happens to hold numbers."""


def implied_domain(reference: str | None) -> str:
    r"""code: tests; choice: a letter, with its options or without; literal: a value that only Python writes; math: a
    number, a formula, or a solution that marks its answer (`\boxed{}`, `####`); instruction: anything else.

    Example: implied_domain("18") == "math"
    """
    text = (reference or "").strip()
    if not text:
        return "instruction"
    if holds_tests(text):
        return "code"
    if _LETTER.fullmatch(text):
        return "choice"
    if is_record(text):
        return "choice" if {"answer", "options"} <= dict(json.loads(text)).keys() else "instruction"
    if is_literal_only(text):
        return "literal"
    is_short = len(text) <= _MOST_CHARACTERS and "\n" not in text
    return "math" if _STATES_ONE.search(text) or (is_short and _FORMULA.search(text)) else "instruction"


@lru_cache(maxsize=1024)
def is_literal(text: str) -> bool:
    """Whether a text is a Python literal: a number, a quoted string, True, a list, a dict of literals."""
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True


@lru_cache(maxsize=1024)
def is_literal_only(text: str) -> bool:
    """Whether a text is a Python literal that is no mathematics: a quoted string, True, a dict, a list of strings.

    Example: is_literal_only("['a', 1]") and not is_literal_only("[1, 2]")
    """
    if not is_literal(text):
        return False
    value = ast.literal_eval(text.strip())
    if isinstance(value, list | tuple | set):
        return not value or not all(_is_number(item) for item in value)
    return not _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | complex) and not isinstance(value, bool)


@lru_cache(maxsize=1024)
def is_record(text: str) -> bool:
    """Whether a text is a JSON object that a verifier reads: tests, a choice with options, checkable instructions."""
    try:
        fields = json.loads(text)
    except ValueError:
        return False
    return isinstance(fields, dict) and any(keys <= fields.keys() for keys in _RECORDS)


def is_named(domain: str, parts: Sequence[str]) -> bool:
    """Whether one of `parts` stands in the name of a domain, in any case: `GSM8K` is named by gsm."""
    return any(part.casefold() in domain.casefold() for part in parts)
