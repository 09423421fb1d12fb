"""Words and letters that must or must not appear.

Keywords are plain text, not patterns, and are found inside longer words too ("art" in "party"), as in the published
checks; forbidden words are found as whole words only.
"""

from __future__ import annotations

import re

from fusion.rewards.instructions.arguments import InstructionError, holds


def existence(reply: str, *, keywords: list[str]) -> bool:
    """Every keyword appears, in any case."""
    return all(_occurrences(keyword, reply) for keyword in keywords)


def frequency(reply: str, *, keyword: str, frequency: int, relation: str) -> bool:
    """The keyword appears less or at least so many times, in any case."""
    return holds(_occurrences(keyword.strip(), reply), relation, frequency)


def forbidden_words(reply: str, *, forbidden_words: list[str]) -> bool:
    """None of the words appears as a whole word, in any case."""
    return not any(
        re.search(rf"(?<!\w){re.escape(word)}(?!\w)", reply, flags=re.IGNORECASE) for word in forbidden_words
    )


def letter_frequency(reply: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """The letter appears less or at least so many times, in any case.

    The published check draws a random letter where the asked one is not of a-z ("at least 4 hashtags"); here the
    asked character is counted.
    """
    if len(letter.strip()) != 1:
        raise InstructionError(f"letter must be one character, got {letter!r}")
    return holds(reply.lower().count(letter.strip().lower()), let_relation, let_frequency)


def _occurrences(keyword: str, reply: str) -> int:
    return len(re.findall(re.escape(keyword), reply, flags=re.IGNORECASE))
