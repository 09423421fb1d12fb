"""What tells a number that could be somebody's from one in a formula, or one that is made up."""

from __future__ import annotations

import re

_SEQUENCES = "01234567890123456789 98765432109876543210"
_JOINED_BEFORE = frozenset("_./=$#-+*^\\")
_JOINED_AFTER = frozenset("_=/*^@%")


def stands_alone(text: str, match: re.Match[str]) -> bool:
    """Not a part of a longer number, word, formula or address."""
    before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 2]
    if before.isalnum() or before in _JOINED_BEFORE or after[:1].isalnum() or after[:1] in _JOINED_AFTER:
        return False
    return not (after[:1] in {".", ",", "-"} and after[1:].isdigit())


def is_made_up(digits: str) -> bool:
    """Three different digits at most, or six in sequence: 123-456-7890, 4444 4444 4444 4448."""
    return len(set(digits)) <= 3 or any(digits[start : start + 6] in _SEQUENCES for start in range(len(digits) - 5))
