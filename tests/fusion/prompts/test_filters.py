"""What each filter lets through, and what it says of the rest."""

from __future__ import annotations

import json

import pytest

from fusion.errors import ConfigError
from fusion.prompts.base import RawPrompt
from fusion.prompts.filters import Filters, Language, Need


def refused(filters: Filters, text: str = "Name a fish.", domain: str = "chat", reference: str | None = None) -> str:
    """`reason: detail`, or nothing."""
    prompt = RawPrompt("k", ({"role": "user", "content": text},), domain, "d", reference)
    refusal = filters.refuse(prompt)
    return "" if refusal is None else f"{refusal.reason}: {refusal.detail}"


LANGUAGES = [
    ("Name a fish.", True, False),
    ("说出一种鱼的名字。", False, True),
    ("用Python以外的语言解释什么是鱼。", False, True),  # six Latin letters among thirteen
    ("Translate 鱼 into English, please.", True, False),
    ("魚の名前を言ってください。", False, False),  # kana are no Han
    ("Назови рыбу.", False, False),
    ("물고기 이름을 말해줘.", False, False),
    ("3 + 4 = ?", True, True),  # no letters at all
]


@pytest.mark.parametrize(("text", "english", "chinese"), LANGUAGES)
def test_a_language_is_told_by_its_script(text: str, english: bool, chinese: bool) -> None:
    assert (refused(Filters(language=Language.ENGLISH), text) == "") is english
    assert (refused(Filters(language=Language.CHINESE), text) == "") is chinese
    assert refused(Filters(), text) == ""


def test_a_refusal_says_how_much_of_the_language_there_was() -> None:
    assert refused(Filters(language=Language.CHINESE), "Say 鱼.") == "other_language: 1 of 4 letters are chinese"


LENGTHS = [
    (Filters(min_words=4), "prompt_too_short: 3 words, at least 4 are wanted"),
    (Filters(max_words=2), "prompt_too_long: 3 words, at most 2 are wanted"),
    (Filters(min_characters=13), "prompt_too_short: 12 characters, at least 13 are wanted"),
    (Filters(max_characters=11), "prompt_too_long: 12 characters, at most 11 are wanted"),
    (Filters(min_words=3, max_words=3, min_characters=12, max_characters=12), ""),
]


@pytest.mark.parametrize(("filters", "said"), LENGTHS)
def test_bounds_of_length_are_included(filters: Filters, said: str) -> None:
    assert refused(filters) == said


def test_each_chinese_character_is_a_word() -> None:
    assert refused(Filters(min_words=9), "说出一种鱼的名字。").startswith("prompt_too_short: 8 words")


def test_excluded_domains_and_missing_references_are_named() -> None:
    assert refused(Filters(exclude_domains=["math"]), domain="math") == "excluded_domain: math"
    assert refused(Filters(exclude_domains=["math"])) == ""
    assert refused(Filters(need=Need.REFERENCE)) == "no_reference: "
    assert refused(Filters(need=Need.REFERENCE), reference="7") == ""
    assert refused(Filters(need=Need.TESTS)) == "no_tests: no reference"
    assert refused(Filters(need=Need.TESTS), reference="7") == "no_tests: the reference is no test"
    assert refused(Filters(need=Need.TESTS), reference=json.dumps(["assert f(1) == 2"])) == ""


@pytest.mark.parametrize(
    "settings", [{"min_words": 5, "max_words": 4}, {"max_characters": -1}, {"min_language_share": 0.0}]
)
def test_bounds_that_make_no_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="filters"):
        Filters(**settings)  # type: ignore[arg-type]
