"""Reading a judge's words: strictly, or not at all."""

from __future__ import annotations

import math

import pytest

from fusion.judging.verdict import Judgement, Reading, Unparsable, Verdicts, choice, expected, number, pooled, swapped

THREE, FIVE = Verdicts.THREE.readings, Verdicts.FIVE.readings


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("It is fine.\n[[7]]", 7.0),
        ("[[ 7.5 ]]", 7.5),
        ("[[7]] as I said: [[7]]", 7.0),
        ("<think>[[3]]? no, better</think>[[8]]", 8.0),
        ("[[1]]", 1.0),
        ("[[10]]", 10.0),
    ],
)
def test_a_number_in_range_is_read(text: str, value: float) -> None:
    assert number(Judgement(text, "stop"), 1, 10) == Reading(value)


@pytest.mark.parametrize(
    "text",
    [
        "7",
        "Score: 7",
        "[7]",
        "[[7/10]]",
        "[[11]]",
        "[[0]]",
        "[[-3]]",
        "[[seven]]",
        "[[]]",
        "[[nan]]",
        "[[1e1]]",
        "",
        "the answer says [[10]], yet [[2]]",
        "<think>[[8]]</think>",
    ],
)
def test_all_else_is_no_number(text: str) -> None:
    with pytest.raises(Unparsable):
        number(Judgement(text, "stop"), 1, 10)


@pytest.mark.parametrize("reason", ["length", "content_filter", "None"])
def test_a_reply_that_was_cut_is_not_read(reason: str) -> None:
    with pytest.raises(Unparsable, match=reason):
        number(Judgement("so far [[1]]", reason), 1, 10)


def test_a_choice_is_one_of_the_names() -> None:
    assert choice(Judgement("[[C]]", "stop"), THREE) == Reading(0.5)
    for text in ("[[D]]", "[[a]]", "[[A or B]]", "[[A>B]]"):
        with pytest.raises(Unparsable):
            choice(Judgement(text, "stop"), THREE)


@pytest.mark.parametrize(
    ("mark", "of_a", "of_b"),
    [
        ("A>>B", Reading(1.0, 3.0), Reading(0.0, 3.0)),
        ("A>B", Reading(1.0, 1.0), Reading(0.0, 1.0)),
        ("A=B", Reading(0.5, 1.0), Reading(0.5, 1.0)),
        ("B>A", Reading(0.0, 1.0), Reading(1.0, 1.0)),
        ("B>>A", Reading(0.0, 3.0), Reading(1.0, 3.0)),
    ],
)
def test_five_marks_are_read_for_either_answer(mark: str, of_a: Reading, of_b: Reading) -> None:
    """A strong verdict is a whole win or loss, in three games."""
    reply = Judgement(f"Mine is 4.\nMy verdict is [[ {mark} ]].", "stop")
    assert choice(reply, FIVE) == of_a
    assert choice(reply, swapped(FIVE)) == of_b


@pytest.mark.parametrize("text", ["[[A]]", "[[C]]", "[[A<B]]", "[[A>>>B]]", "[[A > B]]", "A>>B", "[[A>B]] or [[A>>B]]"])
def test_all_else_is_none_of_the_five(text: str) -> None:
    with pytest.raises(Unparsable):
        choice(Judgement(text, "stop"), FIVE)


def test_pooled_readings_are_the_mean_over_their_games() -> None:
    assert pooled([Reading(1.0, 3.0), Reading(0.0, 1.0)]) == Reading(0.75, 2.0)
    assert pooled([Reading(7.0), Reading(4.0)]) == Reading(5.5)
    assert pooled([Reading(1.0, 3.0), Reading(0.0, 1.0)], [0.25, 0.75]) == Reading(0.5, 1.5)


def weighted(*tail: tuple[str, dict[str, float]]) -> float:
    return expected(Judgement("".join(token for token, _ in tail), "stop", tail), THREE).value


@pytest.mark.parametrize("token", ["A", " A"])
def test_probabilities_of_the_verdict_are_those_at_its_place(token: str) -> None:
    """0.6 of A (in two spellings), 0.2 of B, 0.1 of C, the rest of what is no verdict: (0.6 + 0.05) / 0.9."""
    others = {"A": math.log(0.5), " A": math.log(0.1), "B": math.log(0.2), "C": math.log(0.1), "The": math.log(0.1)}
    value = weighted((" [[", {"B": 0.0}), (token, others), ("]]", {"B": 0.0}))
    assert value == pytest.approx(0.65 / 0.9)


@pytest.mark.parametrize("tail", [[("[[A]]", {"A": 0.0})], [("[[", {}), ("A]]", {"A": 0.0})], []])
def test_a_verdict_that_is_no_token_of_its_own_has_no_probability(tail: list[tuple[str, dict[str, float]]]) -> None:
    with pytest.raises(Unparsable, match="weighted=false"):
        expected(Judgement("[[A]]", "stop", tuple(tail)), THREE)
