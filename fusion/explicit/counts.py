"""How often a token of one vocabulary was aligned with a token of another: sparse, and summed over shards.

FuseChat's mapping statistics (arXiv 2408.07990, section 3.2). A dense matrix of 32,000 x 152,000 float64 would take
39 GB; a corpus touches a few hundred thousand of its cells. Every link counts, also where one source token is linked
to the same pivot token several times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.explicit.alignment import Alignment
from fusion.explicit.spans import Spans

if TYPE_CHECKING:
    import numpy as np

SHIFT = 32
"""Bits that hold a source id; the pivot id stands above them."""


@dataclass(frozen=True)
class LinkCounts:
    """Counts by pair of token ids, in order of pivot id, then source id.

    Example: LinkCounts([3, 3], [17, 20], [5, 1]): pivot token 3 was aligned five times with 17, once with 20
    """

    pivot_ids: np.ndarray
    """int64 [N]."""
    source_ids: np.ndarray
    """int64 [N]."""
    counts: np.ndarray
    """int64 [N], all above 0."""

    def __len__(self) -> int:
        return len(self.counts)


def count_links(source: Spans, pivot: Spans, alignment: Alignment) -> LinkCounts:
    """Counts of one text; special tokens are left out, for they are mapped by name."""
    import numpy as np

    at_pivot, at_source = alignment.links()
    is_text = ~(pivot.is_special[at_pivot] | source.is_special[at_source])
    codes = (pivot.ids[at_pivot[is_text]] << SHIFT) | source.ids[at_source[is_text]]
    return _counted(codes, np.ones(len(codes), dtype=np.int64))


def merged(shards: Iterable[LinkCounts]) -> LinkCounts:
    """The sum of counts; neither the order of the shards nor how texts were dealt out to them changes it."""
    import numpy as np

    parts = list(shards)
    none = np.zeros(0, dtype=np.int64)
    codes = np.concatenate([none, *((part.pivot_ids << SHIFT) | part.source_ids for part in parts)])
    return _counted(codes, np.concatenate([none, *(part.counts for part in parts)]))


def _counted(codes: np.ndarray, counts: np.ndarray) -> LinkCounts:
    import numpy as np

    order = np.argsort(codes, kind="stable")
    codes, counts = codes[order], counts[order]
    first = np.flatnonzero(np.concatenate([np.ones(min(1, len(codes)), dtype=bool), codes[1:] != codes[:-1]]))
    sums = np.add.reduceat(counts, first) if len(first) else counts
    kept = codes[first]
    return LinkCounts(kept >> SHIFT, kept & ((1 << SHIFT) - 1), sums)
