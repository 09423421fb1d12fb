"""One thing that `fusion doctor` has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Grade(Enum):
    """How a finding stands."""

    OK = "green"
    WARN = "yellow"
    """Some runs would be refused, or worse than they could be."""
    FAIL = "red"
    """A run would be stopped."""


@dataclass(frozen=True)
class Finding:
    """`remedy` is what to type; empty where nothing is to be done."""

    name: str
    grade: Grade
    found: str
    remedy: str = ""


def judged(name: str, found: str, *, failure: str = "", advice: str = "") -> Finding:
    """FAIL if `failure` says what to type, else WARN if `advice` does, else OK."""
    grade = Grade.FAIL if failure else Grade.WARN if advice else Grade.OK
    return Finding(name, grade, found, failure or advice)
