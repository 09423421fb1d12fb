"""Each instruction, with the quirks of the published checks that decide verdicts."""

from __future__ import annotations

import pytest

from fusion.rewards.instructions.checks import CHECKS, Mode, check, variants
from fusion.rewards.instructions.sentences import count_sentences

LOUD = "IT WAS RAINING WHEN THEY LEFT THE HOUSE, AND THE CHILDREN WANTED TO STAY WITH THEIR MOTHER."

CASES = [
    # instruction, arguments, reply, followed
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "I AM here", True),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "at least"}, "DON'T!", True),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "less than"}, "O'H A", False),
    ("change_case:english_capital", {}, LOUD, True),
    ("change_case:english_capital", {}, LOUD.replace("MOTHER", "mother"), False),
    ("change_case:english_capital", {}, "DER REGEN BLEIBT MEIST IN DER EBENE, WIE WIR WISSEN.", False),
    ("change_case:english_lowercase", {}, "the rain stays mainly in the plain.", True),
    ("change_case:english_lowercase", {}, "The rain stays mainly in the plain.", False),
    ("change_case:english_lowercase", {}, "12 + 30 = 42", False),  # no letter is lower case
    ("combination:repeat_prompt", {"prompt_to_repeat": "Sing. "}, " sing. La la", True),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Sing."}, "Sure: sing.", False),
    ("combination:two_responses", {}, "one\n******\ntwo", True),
    ("combination:two_responses", {}, "******one******two******", True),
    ("combination:two_responses", {}, "one ****** one", False),
    ("combination:two_responses", {}, "one\n******\n\n******\ntwo", False),
    ("combination:two_responses", {}, "one", False),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b [c]", True),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b\n]", False),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\np. s. Rain", True),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S Rain", False),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye. P.P.S Rain", True),
    ("detectable_content:postscript", {"postscript_marker": "NB (*)"}, "nb (*) Rain", True),
    ("detectable_format:constrained_response", {}, "Well... My answer is no.", True),
    ("detectable_format:constrained_response", {}, "My answer is no", False),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', True),
    ("detectable_format:json_format", {}, 'Here: {"a": 1}', False),
    ("detectable_format:json_format", {}, "[" * 100_000, False),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 2}, "Day 1 rain Day2 sun", True),
    ("detectable_format:multiple_sections", {"section_spliter": "Day", "num_sections": 1}, "day 1", False),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n  - two\n**three**", True),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* one\n---\n", False),  # a rule is a bullet
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", True),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "*one\ntwo* ** **", False),
    ("detectable_format:title", {}, "<<rain>>\nIt rains.", True),
    ("detectable_format:title", {}, "<< >> <<rain\n>>", False),
    ("keywords:existence", {"keywords": ["art", "sun (day)"]}, "A PARTY on SUN (DAY)", True),
    ("keywords:existence", {"keywords": ["art", "sun"]}, "A party", False),
    ("keywords:forbidden_words", {"forbidden_words": ["art", "c++"]}, "A party in c", True),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "Art.", False),
    ("keywords:forbidden_words", {"forbidden_words": ["c++"]}, "I like C++.", False),
    ("keywords:frequency", {"keyword": "na", "frequency": 2, "relation": "at least"}, "banana", True),
    ("keywords:frequency", {"keyword": "na", "frequency": 2, "relation": "less than"}, "banana", False),
    ("keywords:letter_frequency", {"letter": "A", "let_frequency": 2, "let_relation": "at least"}, "Aha", True),
    ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, "#one", False),
    ("language:response_language", {"language": "de"}, "Der Regen bleibt meist in der Ebene, wie wir wissen.", True),
    ("language:response_language", {"language": "de"}, "The rain stays mainly in the plain.", False),
    ("language:response_language", {"language": "de"}, "42", True),  # nothing to tell the language by
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Rain"},
     "Sun.\n\n\"rain, again", True),
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "rain"},
     "Sun.\n\nRain: again", False),  # a colon belongs to the word
    ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "rain"},
     "Sun.\n\n\n\nRain", False),  # the second place is empty
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\none\n***\ntwo\n***", True),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\n\n***\ntwo", False),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, "one", True),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, "Rain.\nSun", False),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "Rain. Sun", True),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "don't go", True),
    ("length_constraints:number_words", {"num_words": 2, "relation": "less than"}, "a-b", False),
    ("punctuation:no_comma", {}, "one and two、three", True),
    ("punctuation:no_comma", {}, "1,000", False),
    ("startend:end_checker", {"end_phrase": "The END. "}, '"It was the end."', True),
    ("startend:end_checker", {"end_phrase": "The end."}, "The end. Bye", False),
    ("startend:quotation", {}, ' "Rain" ', True),
    ("startend:quotation", {}, '"', False),
    ("startend:quotation", {}, "“Rain”", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "reply", "followed"), CASES)
def test_check(name: str, given: dict[str, object], reply: str, followed: bool) -> None:
    assert check(reply, [name], [given], Mode.STRICT) == [followed]


def test_each_instruction_is_seen_followed_and_not() -> None:
    seen = {(name, followed) for name, _, _, followed in CASES}
    assert seen == {(name, followed) for name in CHECKS for followed in (True, False)}


SENTENCES = [
    # text, number as Punkt counts
    ("", 0),
    ("rain", 1),
    ("Rain. Sun! Snow?", 3),
    ("Dr. Lee met J. K. Hale in the U.S. capital.", 1),
    ("I left the U.S. The sun shone.", 2),
    ("Rain, snow, etc. are wet.", 2),  # Punkt does not know "etc."
    ("1. Rain\n2. Sun", 3),  # list numbers count
    ("No. 5. and so on", 2),
    ("# Rain\n\nIt rains\n- a lot", 1),  # lines end nothing
    ("Wait... what", 1),
    ("Wait... The end.", 2),
    ('"Rain." He left. "', 2),
    ("What?! No.", 2),
    ("**Rain.** Sun.", 2),
    ("See example.com or 3.5 now", 1),
]


@pytest.mark.parametrize(("text", "count"), SENTENCES)
def test_sentences(text: str, count: int) -> None:
    assert count_sentences(text) == count


def test_loose_variants_are_the_published_eight() -> None:
    assert variants("*a*\nb\nc") == ["*a*\nb\nc", "b\nc", "*a*\nb", "b", "a\nb\nc", "a\nb"]  # two coincide twice
    assert len(variants("a*\nb*\nc*")) == 8


@pytest.mark.parametrize("unit", ["[", "<", "\n", "*", "-", "a.", "A'", " ", "Day ", '"', "\n\n "])
def test_reply_stuck_in_a_loop_is_checked_in_linear_time(unit: str) -> None:
    """A check that costs the square of the length would meet the time limit of the suite here."""
    arguments: dict[str, dict[str, object]] = {name: given for name, given, _, _ in CASES}
    for name, given in arguments.items():
        check(unit * 200_000 + "x", [name], [given], Mode.STRICT)
