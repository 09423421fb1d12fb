"""The papers' alignment: dynamic programming over the pieces of two tokenizers, in the manner of dynamic time warping.

FuseLLM (arXiv 2401.10491, section 3.2) and FuseChat (arXiv 2408.07990):

    D[i, j] = cost(i, j) + min(D[i-1, j-1], D[i, j-1], D[i-1, j])

with the edit distance of two pieces as cost, and on ties the diagonal first, then a step of the pivot alone, then one
of the source. Pieces are compared without their word-start mark; where that would empty one of them, with it.

Deviation: pieces are compared as bytes of text, not in the alphabet of their tokenizer, in which `Ġ你` of one and `▁你`
of another have nothing in common.

Shapes: S source tokens, P pivot tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fusion.explicit.alignment import Alignment

if TYPE_CHECKING:
    import numpy as np


def by_edit_distance(source: Sequence[bytes], pivot: Sequence[bytes]) -> Alignment:
    """Align two lists of pieces; time and memory grow with S x P."""
    import numpy as np

    if not source or not pivot:
        return Alignment(np.zeros(len(pivot), np.int64), np.zeros(len(pivot), np.int64), len(source))
    total_SP = _accumulated(_costs(source, pivot))
    starts = np.zeros(len(pivot), dtype=np.int64)
    stops = np.zeros(len(pivot), dtype=np.int64)
    i, j = len(source) - 1, len(pivot) - 1
    starts[j], stops[j] = i, i + 1
    while i or j:
        i, j = _step(total_SP, i, j)
        stops[j] = stops[j] or i + 1
        starts[j] = i
    return Alignment(starts, stops, len(source))


def piece_distance(one: bytes, other: bytes) -> int:
    """Edit distance in bytes, word-start marks aside."""
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(*_bare(one, other)))


def _bare(one: bytes, other: bytes) -> tuple[bytes, bytes]:
    stripped = one.removeprefix(b" "), other.removeprefix(b" ")
    return stripped if all(stripped) else (one, other)


def _costs(source: Sequence[bytes], pivot: Sequence[bytes]) -> np.ndarray:
    """`piece_distance` of each source piece and each pivot piece, int64 [S, P]; each pair of pieces once."""
    import numpy as np
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    s_words, s_of = np.unique(np.array(source, dtype=object), return_inverse=True)
    p_words, p_of = np.unique(np.array(pivot, dtype=object), return_inverse=True)
    bare = [[word.removeprefix(b" ") for word in words.tolist()] for words in (s_words, p_words)]
    costs = cdist(bare[0], bare[1], scorer=Levenshtein.distance, dtype=np.int32).astype(np.int64)
    for i, word in enumerate(s_words.tolist()):
        if not bare[0][i]:
            costs[i] = [Levenshtein.distance(word, other) for other in p_words.tolist()]
    for j, word in enumerate(p_words.tolist()):
        if not bare[1][j]:
            costs[:, j] = [Levenshtein.distance(other, word) for other in s_words.tolist()]
    return costs[s_of][:, p_of]


def _accumulated(cost_SP: np.ndarray) -> np.ndarray:
    """D [S, P], one anti-diagonal at a time: its entries depend on the two before it only."""
    import numpy as np

    S, P = cost_SP.shape
    total = np.full((S + 1, P + 1), np.iinfo(np.int64).max // 2)
    total[0, 0] = 0
    for diagonal in range(2, S + P + 1):
        i = np.arange(max(1, diagonal - P), min(S, diagonal - 1) + 1)
        j = diagonal - i
        before = np.minimum(np.minimum(total[i - 1, j - 1], total[i, j - 1]), total[i - 1, j])
        total[i, j] = cost_SP[i - 1, j - 1] + before
    return total[1:, 1:]


def _step(total_SP: np.ndarray, i: int, j: int) -> tuple[int, int]:
    """One step back along the cheapest path."""
    if not i or not j:
        return max(i - 1, 0), max(j - 1, 0)
    diagonal, pivot, source = total_SP[i - 1, j - 1], total_SP[i, j - 1], total_SP[i - 1, j]
    if diagonal <= min(pivot, source):
        return i - 1, j - 1
    return (i, j - 1) if pivot <= source else (i - 1, j)
