"""What is known of every row of a table that is being made: whether it is expected, came out, was dropped and why.

It holds digests of keys, some 30 bytes a row, because a driver accounts for tens of millions. Names are needed only to
say what is wrong; those of expected rows are kept compressed for that, the others stand in the parts.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fusion.key_table import Digests, KeyTable, Positions, digests_of, grown

EXPECTED, OUT, DROPPED = 1, 2, 4
END = "\0"
"""Between names in a chunk; no key holds it."""

Guards = NDArray[np.uint64]
"""[n]; 0 where there is no guard."""


class RowLedger:
    """Rows by the digest of their accounting unit."""

    def __init__(self) -> None:
        self._table = KeyTable()
        self._state: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)
        self._cause: NDArray[np.uint8] = np.zeros(0, dtype=np.uint8)  # of a drop: index in `_causes`
        self._guards: Guards | None = None  # most tables have none
        self._causes: list[tuple[str, str]] = []
        self._names: list[bytes] = []
        self.num_expected = 0

    # -- what happens --------------------------------------------------------------------------------------------

    def expect(self, keys: Sequence[str]) -> Positions:
        """Declare rows; some may be known. Returns their places, good for `is_done_at` and `is_stale_at`."""
        at = self._add(digests_of(keys))
        fresh = np.flatnonzero(~self._has(at, EXPECTED))
        self._state[at] |= EXPECTED
        if fresh.size:
            new = keys if fresh.size == len(keys) else [keys[i] for i in fresh]
            self._names.append(zlib.compress(END.join(dict.fromkeys(new)).encode("utf-8", "surrogatepass"), 1))
            self.num_expected += int(np.unique(at[fresh]).size)
        return at

    def come_out(self, digests: Digests, guards: Guards | None) -> None:
        at = self._add(digests)
        self._state[at] |= OUT
        if guards is not None:
            if self._guards is None:
                self._guards = np.zeros(len(self._state), dtype=np.uint64)
            self._guards[at] = guards

    def drop(self, digests: Digests, causes: Sequence[tuple[str, str]]) -> None:
        """Rows that did not go on, each with (kind, reason)."""
        at = self._add(digests)
        self._state[at] |= DROPPED
        for cause in dict.fromkeys(causes):
            if cause not in self._causes:
                self._causes.append(cause)
        self._cause[at] = [self._causes.index(cause) for cause in causes]

    def take_back(self, digests: Digests) -> None:
        """Rows that are no longer there."""
        at = self._table.find(digests)
        self._state[at[at >= 0]] &= np.uint8(EXPECTED | DROPPED)

    # -- what is so ----------------------------------------------------------------------------------------------

    def is_out(self, digests: Digests) -> NDArray[np.bool_]:
        at = self._table.find(digests)
        return (at >= 0) & self._has(np.maximum(at, 0), OUT) if len(self._table) else at >= 0

    def is_done(self, key: str) -> bool:
        at = int(self._table.find(digests_of([key]))[0])
        return at >= 0 and bool(self._state[at] & (OUT | DROPPED))

    def is_done_at(self, at: Positions) -> NDArray[np.bool_]:
        return self._has(at, OUT | DROPPED)

    def is_stale_at(self, at: Positions, guards: Guards) -> NDArray[np.bool_]:
        """Whether it came out under another guard than the one wanted; a guard of 0 agrees with any."""
        known = np.zeros(len(at), dtype=np.uint64) if self._guards is None else self._guards[at]
        stale: NDArray[np.bool_] = self._has(at, OUT) & (guards != 0) & (guards != known)
        return stale

    @property
    def num_done(self) -> int:
        return self._num(self._of(OUT | DROPPED) != 0)

    @property
    def num_out(self) -> int:
        return self._num(self._of(OUT) != 0)

    def num_dropped(self) -> dict[str, Counter[str]]:
        """kind -> reason -> rows."""
        found: dict[str, Counter[str]] = {"dropped": Counter(), "failed": Counter()}
        counts = np.bincount(self._cause[: len(self._table)][self._of(DROPPED) != 0], minlength=len(self._causes))
        for (kind, reason), count in zip(self._causes, counts.tolist(), strict=True):
            if count:
                found[kind][reason] += count
        return found

    # -- what is wrong -------------------------------------------------------------------------------------------

    @property
    def num_missing(self) -> int:
        """Rows that are expected and neither came out nor were dropped."""
        return self._num((self._of(EXPECTED) != 0) & (self._of(OUT | DROPPED) == 0))

    @property
    def num_unexpected(self) -> int:
        return self._num((self._of(EXPECTED) == 0) & (self._of(OUT | DROPPED) != 0))

    @property
    def num_contradictory(self) -> int:
        """Rows that came out and were dropped."""
        return self._num(self._of(OUT | DROPPED) == OUT | DROPPED)

    def a_missing(self) -> str:
        """The first name of those."""
        return min(self._names_in(state=0))

    def a_contradictory(self) -> str:
        return min(self._names_in(state=OUT | DROPPED))

    def unexpected_among(self, keys: Sequence[str]) -> list[str]:
        at = self._table.find(digests_of(keys))
        return [key for key, place in zip(keys, at, strict=True) if place >= 0 and not self._state[place] & EXPECTED]

    # -- private -------------------------------------------------------------------------------------------------

    def _add(self, digests: Digests) -> Positions:
        at = self._table.add(digests)
        if len(self._table) > len(self._state):
            self._state = grown(self._state, len(self._table))
            self._cause = grown(self._cause, len(self._table))
            if self._guards is not None:
                self._guards = grown(self._guards, len(self._table))
        return at

    def _has(self, at: Positions, flags: int) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (self._state[at] & np.uint8(flags)) != 0
        return found

    def _of(self, flags: int) -> NDArray[np.uint8]:
        return self._state[: len(self._table)] & np.uint8(flags)

    def _num(self, mask: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(mask))

    def _names_in(self, state: int) -> Iterator[str]:
        """Names of expected rows of which exactly this is so."""
        for chunk in self._names:
            names = zlib.decompress(chunk).decode("utf-8", "surrogatepass").split(END)
            states = self._state[self._table.find(digests_of(names))] & np.uint8(OUT | DROPPED)
            yield from (name for name, found in zip(names, states.tolist(), strict=True) if found == state)


def guards_from(values: Iterable[str | None]) -> Guards:
    """Of a guard column; 0 for null."""
    found = list(values)
    if not any(value is not None for value in found):
        return np.zeros(len(found), dtype=np.uint64)
    digests = digests_of("" if value is None else value for value in found)[:, 0].copy()
    digests[[value is None for value in found]] = 0
    return digests
