"""The papers' dynamic programming, written down as it stands: three nested loops, no library."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache


@cache
def edit_distance(one: bytes, other: bytes) -> int:
    """Levenshtein distance of two byte strings."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


def cost(one: bytes, other: bytes) -> int:
    """Of two pieces, without their leading space unless one is nothing else."""
    bare = one[1:] if one[:1] == b" " else one, other[1:] if other[:1] == b" " else other
    return edit_distance(*bare) if bare[0] and bare[1] else edit_distance(one, other)


def align(source: Sequence[bytes], pivot: Sequence[bytes]) -> list[list[int]]:
    """Source positions of each pivot position."""
    infinity = 10**9
    total = [[infinity] * (len(pivot) + 1) for _ in range(len(source) + 1)]
    total[0][0] = 0
    for i in range(1, len(source) + 1):
        for j in range(1, len(pivot) + 1):
            best = min(total[i - 1][j - 1], total[i][j - 1], total[i - 1][j])
            total[i][j] = cost(source[i - 1], pivot[j - 1]) + best
    found: list[list[int]] = [[] for _ in pivot]
    i, j = len(source), len(pivot)
    while i and j:
        found[j - 1].insert(0, i - 1)
        options = [
            (total[i - 1][j - 1], 0, i - 1, j - 1),
            (total[i][j - 1], 1, i, j - 1),
            (total[i - 1][j], 2, i - 1, j),
        ]
        _, _, i, j = min(options)
    return found
