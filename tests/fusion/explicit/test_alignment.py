"""Alignment: nothing is lost, nothing crosses, equal spans meet; and the papers' program is the papers' program."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest

from fusion.explicit.alignment import Alignment, AlignmentMode, align, by_bytes, contexts
from fusion.explicit.edit_distance import by_edit_distance
from fusion.explicit.spans import Spans
from tests.fusion.explicit import dp_reference
from tests.fusion.explicit.real_tokenizers import AWKWARD, NAMES, text, tokenizer


def spans_of(ends: list[int]) -> Spans:
    return Spans(np.zeros(len(ends), int), np.array(ends), np.zeros(len(ends), bool))


def lists(alignment: Alignment) -> list[list[int]]:
    return [list(range(a, b)) for a, b in zip(alignment.starts.tolist(), alignment.stops.tolist(), strict=True)]


def assert_sound(source: Spans, pivot: Spans) -> None:
    found = by_bytes(source, pivot)
    groups = found.groups()
    assert [i for one, _ in groups for i in one] == list(range(len(source)))
    assert [j for _, other in groups for j in other] == list(range(len(pivot)))
    assert (np.diff(found.starts) >= 0).all()
    assert (np.diff(found.stops) >= 0).all()
    p_of_source, s_of = found.links()
    assert all(a <= b for a, b in pairwise(zip(p_of_source.tolist(), s_of.tolist(), strict=True)))
    spans_s = {(a, b): i for i, (a, b) in enumerate(zip(source.starts.tolist(), source.ends.tolist(), strict=True))}
    for j, span in enumerate(zip(pivot.starts.tolist(), pivot.ends.tolist(), strict=True)):
        if span in spans_s and span[0] < span[1]:
            assert lists(found)[j] == [spans_s[span]] if j < 50 else found.starts[j] == spans_s[span]
            assert found.stops[j] == spans_s[span] + 1


@pytest.mark.parametrize(("one", "other"), list(permutations(NAMES, 2)))
def test_nothing_is_lost_nothing_crosses_and_equal_spans_meet(one: str, other: str) -> None:
    for kind in ("english", "chinese", "code"):
        whole = text(kind)[:4000]
        assert_sound(tokenizer(one).encode(whole), tokenizer(other).encode(whole))
    for awkward in AWKWARD:
        assert_sound(tokenizer(one).encode(awkward), tokenizer(other).encode(awkward))


def test_tokens_go_with_what_overlaps_them() -> None:
    assert lists(by_bytes(spans_of([2, 3, 7, 9]), spans_of([3, 5, 9]))) == [[0, 1], [2], [2, 3]]


def test_a_token_inside_a_character_is_matched_by_its_bytes() -> None:
    """Byte-level tokens of one emoji: character offsets would give each of them the whole."""
    assert lists(by_bytes(spans_of([1, 3, 4]), spans_of([3, 4]))) == [[0, 1], [2]]


@pytest.mark.parametrize(
    ("source", "pivot", "expected"),
    [
        ([0, 2, 2], [0, 2, 2], [[0], [1], [2]]),  # <s> ab </s> on both sides
        ([0, 2, 2], [2], [[1]]),  # the pivot has no special tokens: the source's stand alone
        ([2], [0, 2, 2], [[], [0], []]),  # and the other way round
        ([0, 0, 2], [0, 2], [[1], [2]]),  # two before the text: the nearer one is paired
    ],
)
def test_special_tokens_are_paired_from_the_text_outwards(
    source: list[int], pivot: list[int], expected: list[list[int]]
) -> None:
    found = by_bytes(spans_of(source), spans_of(pivot))
    assert lists(found) == expected
    assert sorted(i for one, _ in found.groups() for i in one) == list(range(len(source)))


def test_an_empty_text_has_no_links() -> None:
    assert by_bytes(spans_of([]), spans_of([])).groups() == []


def test_contexts_are_equal_where_both_have_read_the_same_bytes() -> None:
    #         source: ab|c|defg|hi     pivot: abc|de|fghi|<end>
    assert contexts(spans_of([2, 3, 7, 9, 9]), spans_of([3, 5, 9, 9])).tolist() == [0, 2, -1, 4]


@pytest.mark.parametrize(("one", "other"), [("llama3_1", "gemma3"), ("qwen3", "mistral_v3"), ("smollm2", "gptoss")])
@pytest.mark.parametrize("kind", ["english", "chinese", "code"])
def test_edit_distance_is_the_papers_program(one: str, other: str, kind: str) -> None:
    whole = text(kind)[1000:1400]
    a, b = tokenizer(one), tokenizer(other)
    source, pivot = a.encode(whole), b.encode(whole)
    found = align(source, pivot, (a.vocabulary, b.vocabulary), AlignmentMode.EDIT_DISTANCE)
    pieces = [[t.vocabulary.pieces[i] for i in s.ids.tolist()] for t, s in ((a, source), (b, pivot))]
    assert lists(found) == dp_reference.align(*pieces)


def test_ties_go_to_the_diagonal_then_to_the_pivot() -> None:
    assert lists(by_edit_distance([b"a", b"a"], [b"a", b"a"])) == [[0], [1]]
    assert lists(by_edit_distance([b"ab"], [b"a", b"b"])) == [[0], [0]]
    assert lists(by_edit_distance([b"a", b"b"], [b"ab"])) == [[0, 1]]


def test_a_lone_word_mark_is_compared_as_it_is() -> None:
    """Stripped of its mark a lone space would be nothing, and as near to any one-letter piece as to another space."""
    assert lists(by_edit_distance([b" ", b"x"], [b" ", b" x"])) == [[0], [1]]
