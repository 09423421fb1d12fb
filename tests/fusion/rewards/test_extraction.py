"""What counts as a final answer: replies as small models write them."""

from __future__ import annotations

import pytest

from fusion.rewards.extraction import final_answer

STATED = [
    # reply, expected answer (its kind matters), what is read
    ("The sum of 3 and 4 is 7.", "7", "7"),  # SmolLM2
    (" 7", "7", "7"),  # Gemma after solved examples
    ("The answer is 7.", "7", "7"),
    ("The final answer is: $\\boxed{7}$. I hope it is correct.", "7", "7"),
    ("The answer is 3 + 4 = 7", "7", "7"),
    ("The answer is 7 because 3 + 4 = 7. There are 2 terms.", "7", "7"),
    ("First guess: the answer is 5. No, the answer is 6.", "6", "6"),  # the last statement counts
    ("So, the GCD of 25 and 15 is 5.", "5", "5"),
    ('The letter "n" appears 2 times in the text "hundred thousand".', "2", "2"),
    ("The GCD of 20 and 5 is 5, since 5 is the least common multiple of 20 and 5.", "5", "5"),
    ("The GCD of 2 and 12 is 12 because it is the product of 2 and 12.", "2", "12"),
    ("When you add 23 and 39, you get 62, which is indeed 62.", "62", "62"),
    ("Then subtract 3 from 0, which gives us -3.", "-3", "-3"),
    ("2 * 4 = 8\n\nThe final answer should be 8.", "8", "8"),
    ('The result is "56".', "56", "56"),
    ("GCD: 2", "2", "2"),
    ("0 * 5 = 0\n\nFaster!", "0", "0"),
    ("5 - 8*e = -51\n8*e = 56\ne = 7", "7", "7"),
    ("4 * 1 = **4**", "4", "4"),
    ("It equals *4*", "4", "4"),
    ("5 - 9 = −4", "-4", "-4"),  # a Unicode minus
    ("<answer>12</answer>", "12", "12"),
    ("We add them up.\n#### 1,234", "1234", "1234"),
    ("It is 3/4.", "3/4", "3/4"),
    ("The total is 3.50 dollars", "3.5", "3.50"),
    ('The word "hay" spelled backward is "yah".', "yah", "yah"),
    ("hay -> yah", "yah", "yah"),
    ("Yah", "yah", "Yah"),
    ('The answer is "htob", since the word is both.', "htob", "htob"),
    ("She is his mother-in-law.", "mother-in-law", "mother-in-law"),
    ("up up right up", "up up right", "up up right up"),  # other text: the whole reply
]

NOT_STATED = [
    # reply, expected answer, why nothing is read
    ("Find the Greatest Common Divisor of these: 25, 5", "5"),  # after the last claim comes 25, see below
    ("I am not sure.", "7"),
    ("", "7"),
    ("The numbers 12, 4", "4"),  # two numbers, no claim
    ("The result is 4 * 2", "4"),  # not worked out
    ("It appears twice.", "2"),  # number words are not read
    ("x2", "2"),
    ("You cannot have a fraction with a numerator of 1.", "1"),
    ('There are four occurrences of the letter "1" in the original text.', "1"),
    ("It is a sum of terms of the form 17*i.", "17"),
    ("An example: 2 * 4 = 8. You can add 8 to any number.", "8"),  # the last sentence with a number decides
    ("!!!", "yah"),
]


@pytest.mark.parametrize(("reply", "expected", "answer"), STATED)
def test_stated_answer_is_read(reply: str, expected: str, answer: str) -> None:
    assert final_answer(reply, expected, is_cut_off=False) == answer


@pytest.mark.parametrize(("reply", "expected"), NOT_STATED)
def test_reply_that_states_nothing_has_no_right_answer(reply: str, expected: str) -> None:
    assert final_answer(reply, expected, is_cut_off=False) != expected


def test_cut_off_reply_answers_only_explicitly() -> None:
    assert final_answer("First, 3 + 4 = 7", "7", is_cut_off=True) is None
    assert final_answer("The answer is 7. To see this", "7", is_cut_off=True) == "7"


def test_right_answer_is_not_searched_for() -> None:
    """A reply that lists candidates is not searched for the one that is right."""
    assert final_answer("It could be 5, 6, 7 or 8. So it is 8.", "7", is_cut_off=False) == "8"
