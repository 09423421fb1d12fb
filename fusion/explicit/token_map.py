"""Which pivot token stands for a source token: the vocabulary mapping.

A source token whose bytes are a pivot token is that token; special tokens go by name, and the end of turn to the end of
turn. The rest is decided by what they were aligned with (FuseChat's mapping statistics, arXiv 2408.07990, section 3.2)
or by spelling (FuseLLM's default, arXiv 2401.10491). A source token without any evidence stays unmapped (-1) and its
probability is left out: the papers' code sends it to the unknown token or the end of sequence, which puts probability
on ending the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.choice import Choice
from fusion.explicit.counts import LinkCounts
from fusion.explicit.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np

CONTAINED = 0.1
"""Factor on the edit distance of two pieces one of which contains the other (FuseChat's code)."""


class MapMode(Choice):
    """Which pivot token is taken for a source token that is none itself."""

    FREQUENCY = "frequency"
    """The one it was aligned with most often; of equals the nearest in spelling, then the lowest id."""
    FUSECHAT_CODE = "fusechat_code"
    """The smallest sigmoid(count) x edit distance among those it was aligned with: as published, where a frequent
    pair is slightly the worse for it."""
    MIN_EDIT = "min_edit"
    """The nearest in spelling of the whole vocabulary; FuseLLM's default. Slow: every piece against every other."""
    EXACT = "exact"
    """None: what is no token of the pivot is left out. FuseLLM's exact match (EM, "hard" in its code)."""
    FIRST_PIECE = "first_piece"
    """The longest pivot token that its bytes begin with: what a pivot would have to say first."""


def token_map(
    source: Vocabulary,
    pivot: Vocabulary,
    counts: LinkCounts,
    mode: MapMode,
    ends: tuple[int, int],
    wanted: Sequence[int] | None = None,
) -> np.ndarray:
    """Pivot id of each source id, int64 [V of source]; -1: none.

    Args:
        counts: of the whole corpus.
        ends: end of turn of source and pivot.
        wanted: source ids that matter; None: all.
    """
    import numpy as np

    found = np.full(len(source), -1, dtype=np.int64)
    for number in range(len(source)) if wanted is None else sorted(set(wanted)):
        known = pivot.special_ids if number in source.special else pivot.ids
        found[number] = known.get(source.pieces[number], -1)
    _CHOOSE[mode](source, pivot, counts, found, wanted)
    found[ends[0]] = ends[1]
    return found


@dataclass(frozen=True, slots=True)
class _Option:
    """A pivot token that a source token was aligned with."""

    pivot_id: int
    count: int
    distance: int
    is_contained: bool
    """One of the two pieces lies in the other."""


def _by_counts(cost: Callable[[_Option], tuple[float, ...]]) -> Callable[..., None]:
    """The cheapest of the pairs that occurred."""

    def fill(source: Vocabulary, pivot: Vocabulary, counts: LinkCounts, found: np.ndarray, _: object) -> None:
        best: dict[int, tuple[tuple[float, ...], int]] = {}
        sides = (counts.pivot_ids.tolist(), counts.source_ids.tolist(), counts.counts.tolist())
        for pivot_id, source_id, count in zip(*sides, strict=True):
            if found[source_id] < 0 and source_id not in source.special:
                option = _option(source.pieces[source_id], pivot.pieces[pivot_id], pivot_id, count)
                best[source_id] = min(best.get(source_id, ((float("inf"),), -1)), (cost(option), pivot_id))
        for source_id, (_, pivot_id) in best.items():
            found[source_id] = pivot_id

    return fill


def _option(source: bytes, pivot: bytes, pivot_id: int, count: int) -> _Option:
    from fusion.explicit.edit_distance import piece_distance

    bare = source.removeprefix(b" "), pivot.removeprefix(b" ")
    return _Option(pivot_id, count, piece_distance(source, pivot), bare[0] in bare[1] or bare[1] in bare[0])


def _frequency(option: _Option) -> tuple[float, ...]:
    return -option.count, option.distance


def _fusechat_code(option: _Option) -> tuple[float, ...]:
    nearness = CONTAINED if option.is_contained else 1.0
    return (option.distance * nearness / (1 + math.exp(-option.count)),)


def _min_edit(
    source: Vocabulary, pivot: Vocabulary, _: LinkCounts, found: np.ndarray, wanted: Sequence[int] | None
) -> None:
    import numpy as np
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import extractOne

    ids = [number for number, piece in enumerate(pivot.pieces) if piece and number not in pivot.special]
    words = [pivot.pieces[number].removeprefix(b" ") or b" " for number in ids]
    for number in np.flatnonzero(found < 0).tolist() if wanted is None else sorted(set(wanted)):
        piece = source.pieces[number].removeprefix(b" ") or source.pieces[number]
        if found[number] < 0 and piece and number not in source.special:
            nearest = extractOne(piece, words, scorer=Levenshtein.distance)
            found[number] = ids[nearest[2]]


def _first_piece(
    source: Vocabulary, pivot: Vocabulary, _: LinkCounts, found: np.ndarray, wanted: Sequence[int] | None
) -> None:
    known = pivot.ids
    for number in range(len(source)) if wanted is None else sorted(set(wanted)):
        piece = source.pieces[number]
        if found[number] < 0 and number not in source.special:
            prefixes = (known.get(piece[:size]) for size in range(len(piece) - 1, 0, -1))
            found[number] = next((one for one in prefixes if one is not None), -1)


def _exact(*_: object) -> None:
    """Equal bytes are all there is."""


_CHOOSE: dict[MapMode, Callable[..., None]] = {
    MapMode.FREQUENCY: _by_counts(_frequency),
    MapMode.FUSECHAT_CODE: _by_counts(_fusechat_code),
    MapMode.MIN_EDIT: _min_edit,
    MapMode.EXACT: _exact,
    MapMode.FIRST_PIECE: _first_piece,
}
