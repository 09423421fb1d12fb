"""The letter that MMLU-Pro's script takes, one reply a rule, and the verifier that reads as it does."""

from __future__ import annotations

import pytest

from fusion.fingerprint import canonical, fingerprint
from fusion.rewards.choice_answer import ChoiceAnswer, Guess, Reading
from fusion.rewards.published_choice import published_choice
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate

CASES = [
    # reply, by the three expressions, by the first alone
    ("The answer is (B).\n\nQuestion: 1 + 1?\nThe answer is (C).", "B", "B"),
    ("The answer is B, so Answer: C", "B", "B"),
    ("The answer is Because", "B", "B"),
    ("The answer is **(B)**.", "B", None),  # by the third
    ("Answer: C. It is not (D).", "C", None),
    ("Answer: A, I mean answer: B\nAnswer: C", "B", None),
    ("Answer: Answer: B", "B", None),  # two places that overlap
    ("answer:\n\nC", "C", None),
    ("**Answer:** C", "C", None),  # by the third
    ("Either (D) or E\nor (F), say. Done", "F", None),
    ("I do not know.", "I", None),
    ("None of them", None, None),
    ("the answer is (b)", None, None),
]


@pytest.mark.parametrize(("reply", "by_three", "by_first"), CASES)
def test_the_first_expression_that_is_found_decides(reply: str, by_three: str | None, by_first: str | None) -> None:
    assert published_choice(reply) == by_three
    assert published_choice(reply, is_first_only=True) == by_first


def judged(reply: str, **settings: object) -> tuple[Outcome, str | None]:
    with ChoiceAnswer(**settings).open("", Placement()) as scorer:  # type: ignore[arg-type]
        score = scorer.score([candidate(reply, "B")])[0]
    return score.outcome, score.detail


def test_a_reply_that_states_two_letters_is_read_by_its_first_only_where_that_is_asked_for() -> None:
    reply = "The answer is (B) and (C)."
    assert judged(reply) == (Outcome.FAIL, "no answer found, expected B")
    assert judged(reply, reading=Reading.PUBLISHED) == (Outcome.PASS, None)
    assert judged("It is (B).", reading=Reading.PUBLISHED_FIRST) == (Outcome.FAIL, "no answer found, expected B")


def test_a_reading_guesses_nothing_unless_guesses_are_asked_for() -> None:
    reply = "None of them"
    assert judged(reply, reading=Reading.PUBLISHED) == (Outcome.FAIL, "no answer found, expected B")
    assert "guessed" in str(judged(reply, reading=Reading.PUBLISHED, guess=Guess.RANDOM)[1])


def test_the_usual_reading_leaves_the_identity_as_it_was() -> None:
    assert canonical(ChoiceAnswer()) == {"()": "ChoiceAnswer", "domains": [], "guess": "none"}
    prints = {fingerprint(ChoiceAnswer(reading=reading)) for reading in Reading}
    assert len(prints) == len(Reading)
