"""Counts of aligned tokens: sparse, additive, and complete."""

from __future__ import annotations

import numpy as np

from fusion.explicit.alignment import Alignment, by_bytes
from fusion.explicit.counts import LinkCounts, count_links, merged
from fusion.explicit.spans import Spans
from tests.fusion.explicit.real_tokenizers import text, tokenizer


def as_dict(counts: LinkCounts) -> dict[tuple[int, int], int]:
    sides = (counts.pivot_ids.tolist(), counts.source_ids.tolist(), counts.counts.tolist())
    return {(p, s): n for p, s, n in zip(*sides, strict=True)}


def test_every_link_counts_also_of_equal_tokens() -> None:
    """An index that is written to twice at once keeps one of the two additions."""
    source = Spans(np.array([7, 7, 7, 2]), np.array([1, 2, 3, 3]), np.array([False, False, False, True]))
    pivot = Spans(np.array([5, 1]), np.array([3, 3]), np.array([False, True]))
    counts = count_links(source, pivot, by_bytes(source, pivot))
    assert as_dict(counts) == {(5, 7): 3}  # and the special tokens are mapped by name, not by counts


def test_shards_add_up_to_the_whole_in_any_order() -> None:
    one, other = tokenizer("qwen3"), tokenizer("gemma3")
    shards = []
    for kind in ("english", "chinese", "code"):
        for start in range(0, 6000, 1500):
            piece = text(kind)[start : start + 1500]
            source, pivot = one.encode(piece), other.encode(piece)
            shards.append(count_links(source, pivot, by_bytes(source, pivot)))
    forwards, backwards = merged(shards), merged([merged(shards[6:][::-1]), merged(shards[:6])])
    assert as_dict(forwards) == as_dict(backwards)
    assert sum(forwards.counts) == sum(sum(shard.counts) for shard in shards)
    assert len(forwards) < 0.001 * len(one.vocabulary) * len(other.vocabulary)


def test_ids_of_the_largest_vocabularies_fit() -> None:
    huge = Spans(np.array([262_143]), np.array([1]), np.array([False]))
    counts = count_links(huge, huge, Alignment(np.array([0]), np.array([1]), 1))
    assert as_dict(counts) == {(262_143, 262_143): 1}


def test_nothing_is_nothing() -> None:
    assert len(merged([])) == 0
