"""Agreement with people, on invented verdicts counted by hand."""

from __future__ import annotations

import random

import pytest

from fusion.errors import ConfigError
from fusion.evaluation.intervals import wilson
from fusion.judging.agreement import LabelledPair, agreement

PAIRS = [
    LabelledPair(1.0, 1.0, 1.0),  # right
    LabelledPair(0.0, 0.0, 0.0),  # right
    LabelledPair(1.0, 0.0, 0.0),  # wrong
    LabelledPair(1.0, 1.0, 0.0),  # torn, for the first place: a tie
    LabelledPair(0.0, 0.0, 1.0),  # torn, for the second place: a tie
    LabelledPair(0.0, 1.0, 0.0),  # torn, for the first place: a tie
    LabelledPair(1.0, 1.0, 0.5),  # unsure in one order: a tie, but not torn
    LabelledPair(0.5, 0.5, 0.5),  # a tie of both
    LabelledPair(0.5, 1.0, 1.0),  # people see no winner
]


def test_counts_are_those_by_hand() -> None:
    found = agreement(PAIRS)
    assert found.accuracy is not None
    assert found.accuracy_decided is not None
    assert found.first_place is not None
    assert found.accuracy.value == pytest.approx((2 + 0 + 4 * 0.5) / 7)
    assert found.accuracy_decided.value == pytest.approx(2 / 3)
    assert found.agreement.value == pytest.approx(3 / 9)
    assert found.consistency.value == pytest.approx(5 / 9)
    assert found.first_place.value == pytest.approx(2 / 3)
    assert (found.num_pairs, found.num_human_ties, found.num_judge_ties) == (9, 2, 5)
    assert found.consistency == wilson(5 / 9, 9)


def test_probabilities_count_by_their_side() -> None:
    soft = [LabelledPair(pair.human, 0.5 + 0.3 * (pair.shown_first - 0.5), pair.shown_second) for pair in PAIRS]
    assert agreement(soft) == agreement(PAIRS)


def test_a_judge_that_always_takes_the_first_place_is_found_out() -> None:
    rng = random.Random(0)
    found = agreement([LabelledPair(float(rng.random() < 0.5), 1.0, 0.0) for _ in range(100)])
    assert found.accuracy is not None
    assert found.accuracy.value == 0.5
    assert found.accuracy_decided is None
    assert found.consistency.value == 0.0
    assert found.first_place is not None
    assert found.first_place.value == 1.0
    assert found.first_place.low > 0.95


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """A judge that is right in 70% of pairs, in both orders alike."""
    rng = random.Random(1)
    held = 0
    for _ in range(200):
        labels = [float(rng.random() < 0.5) for _ in range(80)]
        verdicts = [label if rng.random() < 0.7 else 1 - label for label in labels]
        found = agreement([LabelledPair(h, v, v) for h, v in zip(labels, verdicts, strict=True)]).accuracy
        assert found is not None
        held += found.low <= 0.7 <= found.high
    assert held >= 180


@pytest.mark.parametrize("pairs", [[], [LabelledPair(1.0, 7.0, 1.0)], [LabelledPair(float("nan"), 1.0, 1.0)]])
def test_what_says_nothing_is_refused(pairs: list[LabelledPair]) -> None:
    with pytest.raises(ConfigError):
        agreement(pairs)
