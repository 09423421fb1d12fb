"""Many keys in little room: the digest of each, at a position of its own, in a hash table of numpy arrays.

A Python set of twenty million row keys takes 3 GB; this takes 16 bytes a key and about 8 for finding it. Digests are
of 128 bits, so that among 10^9 keys two are alike with a chance of 10^-21.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Digests = NDArray[np.uint64]
"""[n, 2]"""
Positions = NDArray[np.int64]

Scalar = TypeVar("Scalar", bound=np.generic)

FILLED = 0.6
"""Share of slots from which the table grows."""


def digests_of(keys: Iterable[str]) -> Digests:
    """The same in every process and on every machine, so that workers may send them."""
    encoded = (key.encode("utf-8", "surrogatepass") for key in keys)
    return digests_from(b"".join([blake2b(key, digest_size=16).digest() for key in encoded]))


def digests_from(data: bytes) -> Digests:
    """What `digests.tobytes()` gave."""
    return np.frombuffer(data, dtype="<u8").reshape(-1, 2)


class KeyTable:
    """Digests at positions 0, 1, 2, ... in the order in which they were added; nothing is ever removed."""

    def __init__(self) -> None:
        self._keys: Digests = np.empty((256, 2), dtype=np.uint64)
        self._slots: NDArray[np.int32] = np.full(512, -1, dtype=np.int32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def num_bytes(self) -> int:
        return self._keys.nbytes + self._slots.nbytes

    def find(self, digests: Digests) -> Positions:
        """The position of each, -1 where it is not in the table."""
        return self._look(digests)[0]

    def add(self, digests: Digests) -> Positions:
        """The position of each; those that are new get the next ones. Some may be equal."""
        self._make_room(len(digests))
        found, slots = self._look(digests)
        left = np.flatnonzero(found < 0)
        while left.size:
            # Of several that want one slot, the last to write its mark has it. The others look again: they find their
            # equal there, or the next free slot.
            self._slots[slots[left]] = -2 - left
            has = self._slots[slots[left]] == -2 - left
            won = left[has]
            found[won] = self._count + np.arange(won.size)
            self._keys[self._count : self._count + won.size] = digests[won]
            self._slots[slots[won]] = found[won]
            self._count += won.size
            left = left[~has]
            found[left], slots[left] = self._look(digests[left])
            left = left[found[left] < 0]
        return found

    # -- private -------------------------------------------------------------------------------------------------

    def _look(self, digests: Digests) -> tuple[Positions, Positions]:
        """Positions, and for those that are absent the free slot where the search ended."""
        last = np.uint64(len(self._slots) - 1)
        slots = (digests[:, 0] & last).astype(np.int64)
        found = np.full(len(digests), -1, dtype=np.int64)
        left = np.arange(len(digests))
        while left.size:
            there = self._slots[slots[left]]
            taken = there >= 0
            left, there = left[taken], there[taken]
            same = (self._keys[there] == digests[left]).all(axis=1)
            found[left[same]] = there[same]
            left = left[~same]
            slots[left] = (slots[left] + 1) & int(last)
        return found, slots

    def _make_room(self, more: int) -> None:
        wanted = self._count + more
        if wanted > len(self._keys):
            self._keys = grown(self._keys, wanted)
        size = len(self._slots)
        while wanted > FILLED * size:
            size *= 2
        if size == len(self._slots):
            return
        known, self._count = self._keys[: self._count], 0
        self._slots = np.full(size, -1, dtype=np.int32)
        for start in range(0, len(known), 2**16):  # in pieces: adding takes scratch room
            self._add_known(known[start : start + 2**16])

    def _add_known(self, digests: Digests) -> None:
        """Digests that stand at their positions and are all different; only their slots are to be found."""
        left = np.arange(len(digests))
        slots = self._look(digests)[1]
        while left.size:
            marks = self._count + left
            self._slots[slots[left]] = marks
            left = left[self._slots[slots[left]] != marks]
            slots[left] = self._look(digests[left])[1]
        self._count += len(digests)


def grown(array: NDArray[Scalar], wanted: int) -> NDArray[Scalar]:
    """A copy with room for `wanted` rows and a quarter more; new rows are zero."""
    larger = np.zeros((wanted + wanted // 4, *array.shape[1:]), dtype=array.dtype)
    larger[: len(array)] = array
    return larger
