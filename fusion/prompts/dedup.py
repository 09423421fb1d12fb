"""Which prompts say the same thing: exact and near-duplicates, within a set and against another.

Two prompts are duplicates when they are equal after folding case, white space and punctuation. They are
near-duplicates when the Jaccard similarity of their word shingles reaches a threshold and nothing that decides the
answer differs: numbers, operators, brackets, quoted strings, or a verifier's own record (a reference that is a JSON
object). Procedural tasks differ in nothing else: "What is 3 + 4?" and "What is 3 + 5?" are two prompts.

System messages do not count: the same question under another system message is a duplicate.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fusion.prompts.base import RawPrompt
from fusion.prompts.near import NearIndex
from fusion.prompts.words import asked, folded, ngram_hashes, word_hashes, words
from fusion.schema import prompt_id

if TYPE_CHECKING:
    from fusion.prompts.words import Hashes

SHINGLE_WORDS = 3

_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|`([^`]*)`|「([^」]*)」')
_DECISIVE = re.compile(
    r"\d+(?:[.,]\d+)*"
    r"|[+*/=<>^%|&~×÷·←-⋿■-◿\\\[\](){}]"  # arrows, mathematical operators and shapes too
    r"|(?<=[\d)])!"  # a factorial, not an exclamation
    r"|(?<![^\W\d])-|-(?![^\W\d])"  # a minus, not a hyphen
)


class Likeness(StrEnum):
    EQUAL = "equal"
    NEAR = "near"


@dataclass(frozen=True, slots=True)
class Match:
    """Why a prompt is not kept: it is like `key`, which is."""

    key: str
    likeness: Likeness


class Deduplicator:
    """Takes prompts in order and says of each what it repeats; the first of its kind wins.

    Args:
        threshold: Jaccard similarity in (0, 1] from which two prompts are near-duplicates; 1: none are.
    """

    def __init__(self, threshold: float) -> None:
        self._seen: dict[bytes, str] = {}  # of ids and of folded texts; the name of the prompt that had it first
        self._near = NearIndex(threshold) if threshold < 1 else None
        self._names: list[str] = []  # by number in the index
        self._groups: dict[bytes, int] = {}

    def take(self, key: str, messages: Sequence[Mapping[str, str]], reference: str | None) -> Match | None:
        """The earlier prompt that this one repeats; None: it is new, and remembered."""
        own_id = _digest("id", prompt_id(messages, reference))
        if own_id in self._seen:
            return Match(self._seen[own_id], Likeness.EQUAL)
        text = asked(messages)
        decisive = _decisive(text)
        plain = folded(text)
        own_text = _digest("text", plain, *decisive)
        if own_text in self._seen:
            return Match(self._seen[own_text], Likeness.EQUAL)
        if self._near is not None:
            record = reference if reference is not None and reference.startswith("{") else ""
            group = self._groups.setdefault(_digest(record, *decisive), len(self._groups))
            near = self._near.take(group, _shingles(plain))
            if near is not None:
                return Match(self._names[near], Likeness.NEAR)
            self._names.append(key)
        self._seen[own_id] = self._seen[own_text] = key
        return None


def duplicates(prompts: Iterable[RawPrompt], threshold: float) -> dict[str, Match]:
    """Key -> what it repeats, for each prompt that repeats an earlier one."""
    return disjoint(prompts, (), threshold)


def disjoint(prompts: Iterable[RawPrompt], against: Iterable[RawPrompt], threshold: float) -> dict[str, Match]:
    """As `duplicates`, and also for each prompt that repeats one of `against` (evaluation prompts)."""
    seen = Deduplicator(threshold)
    for prompt in against:
        seen.take(prompt.key, prompt.messages, prompt.reference)
    matches = {prompt.key: seen.take(prompt.key, prompt.messages, prompt.reference) for prompt in prompts}
    return {key: match for key, match in matches.items() if match is not None}


def _decisive(text: str) -> tuple[str, ...]:
    """Quoted strings as they are, then numbers, operators and brackets in order."""
    quoted = [next((part for part in match if part), "") for match in _QUOTED.findall(text)]
    return (*quoted, "", *_DECISIVE.findall(text))


def _digest(*parts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\xff")  # a byte that no UTF-8 has
    return digest.digest()


def _shingles(plain: str) -> Hashes:
    import numpy as np

    return np.unique(ngram_hashes(word_hashes(words(plain)), SHINGLE_WORDS))
