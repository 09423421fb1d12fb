"""A prompt's text as words and hashed word n-grams, as duplicates and benchmark overlaps are found by them.

Shapes: N words, W = max(N - n, 0) + 1 n-grams.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

EAST_ASIAN = "぀-ヿ㐀-鿿가-힣"
_WORD = re.compile(rf"[{EAST_ASIAN}]|[^\W{EAST_ASIAN}]+|\S")  # East Asian scripts: one character, one word
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd and without pattern: n-grams of the same words in another order differ


def asked(messages: Sequence[Mapping[str, str]]) -> str:
    """The text that makes a prompt, NFKC; a system message is not part of the question."""
    return unicodedata.normalize("NFKC", "\n".join(m["content"] for m in messages if m["role"] != "system"))


def folded(text: str) -> str:
    """Without case, punctuation and runs of white space; symbols (arrows, emoji) stay: they may be the question."""
    return " ".join(text.casefold().translate(_punctuation()).split())


def words(text: str) -> list[str]:
    """Words and symbols of a folded text; each East Asian character is a word."""
    return _WORD.findall(text)


def word_hashes(of: Iterable[str]) -> Hashes:
    """uint64 [N], the same in every process."""
    import numpy as np

    return np.fromiter(map(_word_hash, of), dtype=np.uint64)


def ngram_hashes(hashes: Hashes, n: int) -> Hashes:
    """uint64 [W]: one an n-gram, in order; a text shorter than n is one n-gram, and no text is one too."""
    import numpy as np

    n = max(min(n, len(hashes)), 1)
    if not len(hashes):
        return np.zeros(1, dtype=np.uint64)
    total = np.zeros(len(hashes) - n + 1, dtype=np.uint64)
    for offset in range(n):
        total *= np.uint64(_MULTIPLIER)  # modulo 2**64
        total += hashes[offset : offset + len(total)]
    return total ^ (total >> np.uint64(32))


@lru_cache(maxsize=2**18)
def _word_hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


@cache
def _punctuation() -> dict[int, str]:
    return {point: " " for point in range(0x20000) if unicodedata.category(chr(point)).startswith("P")}
