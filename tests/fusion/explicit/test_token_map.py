"""Which pivot token stands for a source token."""

from __future__ import annotations

import numpy as np
import pytest

from fusion.explicit.counts import LinkCounts
from fusion.explicit.token_map import MapMode, token_map
from fusion.explicit.vocabulary import Vocabulary
from tests.fusion.explicit.real_tokenizers import tokenizer

SOURCE = Vocabulary((b"<s>", b"</s>", b" run", b" running", b"cat", b"xyz", b"<|tool|>"), frozenset({0, 1, 6}))
PIVOT = Vocabulary((b"</s>", b"<eot>", b" run", b"runn", b"ing", b"cap", b"<|tool|>"), frozenset({0, 1, 6}))
ENDS = (1, 1)


def counts(*pairs: tuple[int, int, int]) -> LinkCounts:
    columns = [np.array(column, dtype=np.int64) for column in zip(*sorted(pairs), strict=True)]
    return LinkCounts(*columns) if columns else LinkCounts(*(np.zeros(0, np.int64) for _ in range(3)))


def mapped(mode: MapMode, *pairs: tuple[int, int, int]) -> dict[bytes, bytes | None]:
    found = token_map(SOURCE, PIVOT, counts(*pairs), mode, ENDS).tolist()
    return {SOURCE.pieces[i]: PIVOT.pieces[j] if j >= 0 else None for i, j in enumerate(found)}


@pytest.mark.parametrize("mode", list(MapMode))
def test_equal_bytes_and_names_and_the_end_of_turn_are_mapped_in_every_mode(mode: MapMode) -> None:
    found = mapped(mode, (5, 2, 99))
    assert found[b" run"] == b" run"  # whatever it was aligned with
    assert found[b"<|tool|>"] == b"<|tool|>"
    assert found[b"</s>"] == b"<eot>"  # the end of turn goes to the end of turn, not to its namesake
    assert found[b"<s>"] is None  # the pivot has no such token


def test_what_was_never_aligned_stays_unmapped() -> None:
    """The papers' code would send it to the end of sequence."""
    for mode in (MapMode.FREQUENCY, MapMode.FUSECHAT_CODE):
        assert mapped(mode, (3, 3, 1))[b"xyz"] is None


def test_frequency_takes_the_most_frequent_and_of_equals_the_nearest() -> None:
    assert mapped(MapMode.FREQUENCY, (3, 3, 2), (4, 3, 5))[b" running"] == b"ing"
    assert mapped(MapMode.FREQUENCY, (3, 3, 5), (4, 3, 5))[b" running"] == b"runn"


def test_fusechat_code_punishes_frequency() -> None:
    """Of two candidates at one edit, the rarer wins: sigmoid(1) = 0.73 is less than sigmoid(9) = 1.00."""
    source = Vocabulary((b"</s>", b"cat"), frozenset({0}))
    pivot = Vocabulary((b"</s>", b"cap", b"car"), frozenset({0}))
    seen = counts((1, 1, 9), (2, 1, 1))
    assert token_map(source, pivot, seen, MapMode.FUSECHAT_CODE, (0, 0))[1] == 2
    assert token_map(source, pivot, seen, MapMode.FREQUENCY, (0, 0))[1] == 1


def test_fusechat_code_prefers_what_contains_or_is_contained() -> None:
    """`runn` in `running` is 3 edits x 0.1; `cap` is as many edits from it as it has letters."""
    assert mapped(MapMode.FUSECHAT_CODE, (3, 3, 50), (5, 3, 1))[b" running"] == b"runn"


def test_min_edit_looks_at_the_whole_vocabulary() -> None:
    assert mapped(MapMode.MIN_EDIT)[b"cat"] == b"cap"


def test_exact_leaves_out_what_the_pivot_has_not_whatever_it_was_aligned_with() -> None:
    found = mapped(MapMode.EXACT, (3, 3, 5), (4, 3, 5))
    assert {piece for piece, other in found.items() if other is not None} == {b" run", b"<|tool|>", b"</s>"}


def test_first_piece_is_what_the_pivot_would_say_first() -> None:
    assert mapped(MapMode.FIRST_PIECE)[b" running"] == b" run"
    assert mapped(MapMode.FIRST_PIECE)[b"xyz"] is None


def test_a_vocabulary_maps_to_itself() -> None:
    own = tokenizer("smollm2").vocabulary
    found = token_map(own, own, counts(), MapMode.FREQUENCY, (2, 2))
    same = [i for i, piece in enumerate(own.pieces) if piece and (i in own.special or own.ids[piece] == i)]
    assert (found[same] == same).all()
    assert len(same) > 0.99 * len(own)


def test_most_of_one_real_vocabulary_is_in_another() -> None:
    source, pivot = tokenizer("qwen3").vocabulary, tokenizer("gemma3").vocabulary
    found = token_map(source, pivot, counts(), MapMode.FREQUENCY, (151645, 106))
    share = float((found >= 0).mean())
    assert 0.2 < share < 1
    for number in np.flatnonzero(found >= 0)[:2000].tolist():
        assert source.pieces[number] == pivot.pieces[found[number]]
