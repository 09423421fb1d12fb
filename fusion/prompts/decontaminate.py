"""Which training prompts are, or hold, a benchmark's question.

A prompt is contaminated when one of its user turns equals an item after folding case, white space and punctuation, or
when enough of an item's words stand in it as word n-grams:

    overlap(prompt, item) = share of the item's words that lie in an n-gram that the prompt has too

n is 13 words, as in GPT-3's and Llama's reports, or 20 characters of East Asian script (about 13 words of Chinese). An
item too short for two changed words to leave such an n-gram whole is compared by shorter ones (8 and 5 words; 12 and 8
characters), and one of a few words is sought as a whole. Numbers count as words like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt
from fusion.prompts.words import EAST_ASIAN, asked, folded, ngram_hashes, word_hashes, words

if TYPE_CHECKING:
    from fusion.prompts.words import Hashes

LADDER = (1.0, 0.62, 0.4)
"""Shorter n-grams for shorter items, as shares of n."""
_EAST_ASIAN = re.compile(f"[{EAST_ASIAN}]")


@dataclass(kw_only=True)
class Decontamination:
    """Benchmarks, and what counts as overlap with them.

    Example: {benchmarks: {gsm8k: {name: openai/gsm8k, subset: main, split: test, columns: {prompt: question}}}}
    """

    benchmarks: dict[str, Prompts] = field(default_factory=dict)
    """Name -> its items, read like any prompts; one that cannot be read is refused by name."""
    allow_missing: list[str] = field(default_factory=list)
    """Names that may be unreadable, and are then left out."""
    missing: list[str] = field(default_factory=list)
    """Those that were; filled in when the config is read, so that they are part of what was made."""
    ngram_words: int = 13
    ngram_characters: int = 20
    """For items written mostly in East Asian script."""
    min_overlap: float = 0.25
    """Share of an item's words from which a prompt is contaminated. Not 0: exercises share phrases of 13 words ("round
    your answer to the nearest hundredth ...") without being the same."""
    min_overlap_short: float = 0.6
    """The same where shorter n-grams are compared; "write a python function to find the" begins many a task."""

    def __post_init__(self) -> None:
        for name in ("ngram_words", "ngram_characters"):
            if getattr(self, name) < 3:
                raise ConfigError(
                    f"decontaminate.{name} is {getattr(self, name)}; type 3 or more (13 and 20 are usual)"
                )
        for name in ("min_overlap", "min_overlap_short"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"decontaminate.{name} is {getattr(self, name)}; it is a share, in (0, 1]")
        if odd := sorted(set(self.allow_missing) - set(self.benchmarks)):
            raise ConfigError(
                f"decontaminate.allow_missing names {odd[0]}, which is no benchmark of {[*self.benchmarks]}"
            )

    def resolve(self) -> None:
        """Complete the benchmarks' identities, and find out which of `allow_missing` are missing.

        Raises:
            ConfigError: a benchmark cannot be read and is not in `allow_missing`.
        """
        self.missing = []
        for name, benchmark in self.benchmarks.items():
            try:
                benchmark.resolve()
                if name in self.allow_missing:
                    next(benchmark.read(), None)
            except ConfigError as error:
                if name not in self.allow_missing:
                    raise _unreadable(name, error) from error
                self.missing.append(name)

    def items(self) -> Iterator[tuple[str, RawPrompt]]:
        """Name and item, benchmark by benchmark.

        Raises:
            ConfigError: a benchmark cannot be read; it is named.
        """
        for name, benchmark in self.benchmarks.items():
            if name in self.missing:
                continue
            count = 0
            try:
                for count, item in enumerate(benchmark.read(), 1):  # noqa: B007 (read after the loop)
                    yield name, item
            except ConfigError as error:
                raise _unreadable(name, error) from error
            if not count:
                raise _unreadable(name, ConfigError("it holds no item"))


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a prompt has in common with the item that it overlaps most."""

    item: str
    """Benchmark and row: `gsm8k/test.jsonl:17`."""
    share: float
    """Of the item's words, in (0, 1]; 1 also where the texts are equal."""
    ngram: int
    """Length of the n-grams, in words or characters; 0: the texts are equal."""

    def __str__(self) -> str:
        how = f"{self.share:.0%} of its words in shared {self.ngram}-grams" if self.ngram else "the same text"
        return f"{self.item}: {how}"


class BenchmarkIndex:
    """All items, ready to be looked up. About 25 MB for 35,000 items.

    Args:
        config: thresholds; its benchmarks are read here.
    """

    def __init__(self, config: Decontamination) -> None:
        full = (config.ngram_words, config.ngram_characters)
        self._names: list[str] = []
        self._grams: list[Hashes] = []  # an item's n-grams in order
        self._ngram: list[int] = []
        self._exact: dict[str, int] = {}
        self._owners: dict[int, dict[int, list[int]]] = {}  # n -> n-gram -> items
        for name, item in config.items():
            for text in _questions(item):
                self._add(f"{name}/{item.key}", text, config)
        self._known = {n: _sorted_keys(owners) for n, owners in self._owners.items()}
        self._least = {n: config.min_overlap if n in full else config.min_overlap_short for n in self._owners}

    def overlap(self, prompt: RawPrompt) -> Overlap | None:
        """The largest overlap that counts; None: the prompt is clean."""
        for text in _questions(prompt):
            if (equal := self._exact.get(text)) is not None:
                return Overlap(self._names[equal], 1.0, 0)
        hashes = word_hashes(words(folded(asked(prompt.messages))))
        found = [self._best(n, hashes) for n in self._known if len(hashes) >= n]
        return max((one for one in found if one is not None), key=lambda one: one.share, default=None)

    def _add(self, name: str, text: str, config: Decontamination) -> None:
        self._exact.setdefault(text, len(self._names))
        parts = words(text)
        n = _ngram_length(parts, config)
        grams = ngram_hashes(word_hashes(parts), n or 1)
        if n:
            owners = self._owners.setdefault(n, {})
            for gram in set(grams.tolist()):
                owners.setdefault(gram, []).append(len(self._names))
        self._names.append(name)
        self._grams.append(grams)
        self._ngram.append(n)

    def _best(self, n: int, hashes: Hashes) -> Overlap | None:
        import numpy as np

        grams = ngram_hashes(hashes, n)
        known = self._known[n]
        at = np.minimum(np.searchsorted(known, grams), len(known) - 1)
        shared = set(grams[known[at] == grams].tolist())
        owners = sorted({item for gram in shared for item in self._owners[n][gram]})
        shares = [(self._share(item, shared), item) for item in owners]
        share, item = max(shares, key=lambda pair: (pair[0], -pair[1]), default=(0.0, -1))
        return Overlap(self._names[item], share, n) if share >= self._least[n] else None

    def _share(self, item: int, shared: set[int]) -> float:
        """Words of the item that lie in a shared n-gram, of all its words."""
        n, grams = self._ngram[item], self._grams[item].tolist()
        covered, end = 0, 0
        for start, gram in enumerate(grams):
            if gram in shared:
                covered += start + n - max(start, end)
                end = start + n
        return covered / (len(grams) + n - 1)


def _questions(prompt: RawPrompt) -> list[str]:
    """Each user turn, folded; without those that are empty then."""
    texts = [folded(asked([message])) for message in prompt.messages if message["role"] == "user"]
    return [text for text in texts if text]


def _ngram_length(parts: Sequence[str], config: Decontamination) -> int:
    """The longest step of the ladder of which two changes leave one whole; the last step where one change does; else
    the whole text. 0: too short for anything but equality.
    """
    east_asian = sum(1 for part in parts if _EAST_ASIAN.match(part))
    full = config.ngram_characters if 2 * east_asian > len(parts) else config.ngram_words
    steps = [round(full * share) for share in LADDER]
    for n in steps:
        if len(parts) >= 3 * n + 2:
            return n
    if len(parts) >= 2 * steps[-1] + 1:
        return steps[-1]
    return len(parts) if len(parts) >= steps[-1] else 0


def _sorted_keys(owners: Iterable[int]) -> Hashes:
    import numpy as np

    return np.sort(np.fromiter(owners, dtype=np.uint64))


def _unreadable(name: str, error: ConfigError) -> ConfigError:
    return ConfigError(
        f"benchmark {name} cannot be read: {error}. Set decontaminate.benchmarks.{name}.path to a local copy, "
        f"or say that you do without it: decontaminate.allow_missing=[{name}]"
    )
