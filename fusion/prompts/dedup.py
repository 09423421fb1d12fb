"""Which prompts say the same thing: exact and near-duplicates, within a set and against another.

Two prompts are duplicates when they are equal after folding case, white space and punctuation. They are
near-duplicates when the Jaccard similarity of their word shingles reaches a threshold and nothing that decides the
answer differs: numbers, operators, brackets, quoted strings, or a verifier's own record (a reference that is a JSON
object). Procedural tasks differ in nothing else: "What is 3 + 4?" and "What is 3 + 5?" are two prompts.

System messages do not count: the same question under another system message is a duplicate.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING

from fusion.prompts.base import RawPrompt
from fusion.schema import prompt_id

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

NUM_PERMUTATIONS = 128
SCHEME = "affine32"  # of hashing; named, so that a new default of the library changes nothing here
SHINGLE_WORDS = 3
CANDIDATE_MARGIN = 0.15
"""Banded MinHash misses pairs close to its threshold; candidates are sought below it and then compared exactly."""

_QUOTED = re.compile(r'"([^"]*)"|“([^”]*)”|`([^`]*)`|「([^」]*)」')
_DECISIVE = re.compile(
    r"\d+(?:[.,]\d+)*"
    r"|[+*/=<>^%|&~×÷·←-⋿■-◿\\\[\](){}]"  # arrows, mathematical operators and shapes too
    r"|(?<=[\d)])!"  # a factorial, not an exclamation
    r"|(?<![^\W\d])-|-(?![^\W\d])"  # a minus, not a hyphen
)
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힣]|[^\W぀-ヿ㐀-鿿가-힣]+|\S")  # East Asian scripts: one character, one word


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
        self._threshold = threshold
        self._ids: dict[str, str] = {}
        self._folded: dict[tuple[str, tuple[str, ...]], str] = {}
        self._groups: dict[tuple[tuple[str, ...], str | None], _Group] = {}

    def take(self, key: str, messages: Sequence[Mapping[str, str]], reference: str | None) -> Match | None:
        """The earlier prompt that this one repeats; None: it is new, and remembered."""
        own_id = prompt_id(messages, reference)
        if own_id in self._ids:
            return Match(self._ids[own_id], Likeness.EQUAL)
        text = _text(messages)
        decisive = _decisive(text)
        folded = _folded(text)
        if (folded, decisive) in self._folded:
            return Match(self._folded[folded, decisive], Likeness.EQUAL)
        if self._threshold < 1:
            record = reference if reference is not None and reference.startswith("{") else None
            group = self._groups.setdefault((decisive, record), _Group(self._threshold))
            if near := group.take(key, _WORD.findall(folded)):
                return Match(near, Likeness.NEAR)
        self._ids[own_id] = self._folded[folded, decisive] = key
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


@dataclass
class _Group:
    """Prompts that agree in all that is decisive. A hash index is made only when there are two of them."""

    threshold: float
    members: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    index: MinHashLSH | None = None
    """Of positions in `members`."""

    def take(self, key: str, words: Sequence[str]) -> str | None:
        own = _shingles(words)
        if self.members:
            near = [i for i in self._candidates(own) if _jaccard(own, self.members[i][1]) >= self.threshold]
            if near:
                return self.members[min(near)][0]
            self._index(len(self.members), own)
        self.members.append((key, own))
        return None

    def _candidates(self, own: frozenset[str]) -> list[int]:
        from datasketch import MinHashLSH

        if self.index is None:
            self.index = MinHashLSH(num_perm=NUM_PERMUTATIONS, params=_bands(self.threshold))
            for position, (_, shingles) in enumerate(self.members):
                self._index(position, shingles)
        return list(self.index.query(_minhash(own)))

    def _index(self, position: int, shingles: frozenset[str]) -> None:
        assert self.index is not None
        self.index.insert(position, _minhash(shingles))


def _text(messages: Sequence[Mapping[str, str]]) -> str:
    return unicodedata.normalize("NFKC", "\n".join(m["content"] for m in messages if m["role"] != "system"))


def _decisive(text: str) -> tuple[str, ...]:
    """Quoted strings as they are, then numbers, operators and brackets in order."""
    quoted = [next((part for part in match if part), "") for match in _QUOTED.findall(text)]
    return (*quoted, "", *_DECISIVE.findall(text))


def _folded(text: str) -> str:
    """Without case, punctuation and runs of white space; symbols (arrows, emoji) stay: they may be the question."""
    return " ".join(text.casefold().translate(_punctuation()).split())


@cache
def _punctuation() -> dict[int, str]:
    return {point: " " for point in range(0x20000) if unicodedata.category(chr(point)).startswith("P")}


def _shingles(words: Sequence[str]) -> frozenset[str]:
    last = max(len(words) - SHINGLE_WORDS, 0)
    return frozenset(" ".join(words[i : i + SHINGLE_WORDS]) for i in range(last + 1))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


@cache
def _bands(threshold: float) -> tuple[int, int]:
    """Bands and rows of the hash index; the library integrates numerically to find them, once for all groups."""
    from datasketch import MinHashLSH

    index = MinHashLSH(max(threshold - CANDIDATE_MARGIN, 0.05), num_perm=NUM_PERMUTATIONS)
    return index.b, index.r


@cache
def _permutations() -> object:
    from datasketch import MinHash

    return MinHash(num_perm=NUM_PERMUTATIONS, scheme=SCHEME).permutations


def _minhash(shingles: frozenset[str]) -> MinHash:
    from datasketch import MinHash

    sketch = MinHash(num_perm=NUM_PERMUTATIONS, permutations=_permutations(), scheme=SCHEME)
    sketch.update_batch([shingle.encode() for shingle in sorted(shingles)])
    return sketch
