"""Finds, among many sets of word shingles, an earlier one that is nearly the same as a new one.

Candidates come from MinHash signatures cut into bands; each is then compared exactly. Memory is what decides how many
prompts fit, so sets are kept as sorted hashes and buckets as plain integers: about 1.5 kB a prompt of 60 words.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fusion.prompts.words import Hashes

NUM_PERMUTATIONS = 128
SCHEME = "affine32"  # of hashing; named, so that a new default of the library changes nothing here
MISSED = 0.001
"""Largest probability that a pair right at the threshold is not compared; closer pairs are missed far less."""


class NearIndex:
    """Sets by number, in the order they were added, each in a group; only sets of one group are compared.

    Args:
        threshold: Jaccard similarity in (0, 1) from which two sets are nearly the same.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sets: list[Hashes] = []
        self._groups: dict[int, list[int]] = {}  # the first set of a group; signatures start with the second
        self._buckets: dict[int, int | list[int]] = {}

    def take(self, group: int, shingles: Hashes) -> int | None:
        """Number of the first earlier set of the group that is near; None: there is none, and this one is added.

        Args:
            shingles: sorted, without repetitions.
        """
        first = self._groups.get(group)
        own = len(self._sets)
        if first is None:
            self._groups[group] = [own]
        else:
            if len(first) == 1:
                self._insert(first[0], self._bands(group, self._sets[first[0]]))
                first.append(own)
            bands = self._bands(group, shingles)
            near = [other for other in self._candidates(bands) if self._is_near(shingles, self._sets[other])]
            if near:
                return min(near)
            self._insert(own, bands)
        self._sets.append(shingles)
        return None

    def _is_near(self, one: Hashes, other: Hashes) -> bool:
        import numpy as np

        small, large = sorted((len(one), len(other)))
        if small < self._threshold * large:  # the similarity cannot exceed small / large
            return False
        common = len(np.intersect1d(one, other, assume_unique=True))
        return common / (small + large - common) >= self._threshold

    def _candidates(self, bands: list[int]) -> set[int]:
        found: set[int] = set()
        for band in bands:
            bucket = self._buckets.get(band)
            if bucket is not None:
                found.update(bucket if isinstance(bucket, list) else (bucket,))
        return found

    def _insert(self, number: int, bands: list[int]) -> None:
        for band in bands:
            bucket = self._buckets.setdefault(band, number)
            if isinstance(bucket, list):
                bucket.append(number)
            elif bucket != number:
                self._buckets[band] = [bucket, number]

    def _bands(self, group: int, shingles: Hashes) -> list[int]:
        """One integer a band of the signature; equal ones only make candidates, so a chance hit costs time alone."""
        from datasketch import MinHash

        sketch = MinHash(num_perm=NUM_PERMUTATIONS, permutations=_permutations(), scheme=SCHEME, hashfunc=int)
        sketch.update_batch((shingles & 0xFFFFFFFF).tolist())
        num_bands, rows = _shape(self._threshold)
        values = sketch.hashvalues
        return [hash((group, i, values[i * rows : (i + 1) * rows].tobytes())) for i in range(num_bands)]


@cache
def _shape(threshold: float) -> tuple[int, int]:
    """Bands and rows of the signature: the longest rows with which a pair at the threshold is hardly ever missed.

    A pair of similarity t agrees in a row with probability t, so it is missed by all of b bands of r rows with
    (1 - t**r)**b.
    """
    for rows in range(NUM_PERMUTATIONS, 1, -1):
        bands = NUM_PERMUTATIONS // rows
        if (1 - threshold**rows) ** bands <= MISSED:
            return bands, rows
    return NUM_PERMUTATIONS, 1


@cache
def _permutations() -> object:
    from datasketch import MinHash

    return MinHash(num_perm=NUM_PERMUTATIONS, scheme=SCHEME).permutations
