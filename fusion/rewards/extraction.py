r"""The final answer in a reply, found strictly: a reply that states none has none.

The kind of the expected answer (a number, one word, or other text) is known; its value is not looked at. In order:

1. What the reply states as its answer, as `stated_answer` finds it.
2. Numbers and words only, and only in a reply that was not cut off: the last sentence with a number (a word).
   A number: the first one after that sentence's last claim (=, ->, :, is, are, equals, gives, appears, ...), reasons
   ("because ...", "which ...") and quoted strings left out; or a number with hardly a word beside it. "The sum of 3 and
   4 is 7." answers 7; a sentence that repeats "25 and 15" claims nothing.
   A word: the last one: 'The word "hay" spelled backward is "yah".' answers yah.
   Other text: the whole reply.

A number that goes on as an expression ("is 4 * 2") is no answer. Number words ("twice") are not read as numbers.
"""

from __future__ import annotations

import re
from enum import StrEnum

from fusion.rewards.stated_answer import stated_answer

_NUMBER = r"(?<![\w.)])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w]|\.\d|,\d{3})"
_FRACTION = re.compile(_NUMBER + r"(?:\s*/\s*\d+)?")
_INTEGER_OR_DECIMAL = re.compile(_NUMBER)
_OPERATION_FOLLOWS = re.compile(r"\s*(?:[*/×÷^]\s*[\w(]|[-+]\s*[\d(]|\\times|\\cdot)")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_CLAIM = re.compile(
    r"=|≈|->|→|:|\b(?:is|are|be|equals?|gives?|gets?|got|makes?|becomes?|yields?|appears?|occurs?|contains?)\b",
    re.IGNORECASE,
)
_REASON = re.compile(r",?\s+(?:because|since|where|when|which(?!\s+(?:gives?|equals?|makes?)))\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“][^\"”]*[\"”]")
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)]*\s+|\n+")
_MARKUP = re.compile(r"\*\*|__|[`$]|\\[()\[\]]|\\(?:text|mathrm|mathbf)\b")

BARE_WORDS = 3


class Kind(StrEnum):
    NUMBER = "number"
    WORD = "word"
    TEXT = "text"


def kind_of(expected: str) -> Kind:
    """What an answer looks like: `42` and `3/4` are numbers, `mother-in-law` is a word."""
    if _FRACTION.fullmatch(expected):
        return Kind.NUMBER
    return Kind.WORD if _WORD.fullmatch(expected) else Kind.TEXT


def final_answer(reply: str, expected: str, is_cut_off: bool) -> str | None:
    """The answer that `reply` states, or None.

    Args:
        expected: the right answer; only its kind, and whether it is a fraction, are used.
        is_cut_off: the reply reached its token limit, so its last sentence may be any step on the way.

    Example: final_answer("So, the GCD of 25 and 15 is 5.", "5", False) == "5"
    """
    kind = kind_of(expected)
    number = _FRACTION if "/" in expected else _INTEGER_OR_DECIMAL
    stated = stated_answer(reply)
    if kind is Kind.TEXT:
        return stated.text.strip() if stated else (None if is_cut_off else reply.strip() or None)
    if stated:
        clean = _plain(stated.text)
        return _stated_number(clean, number) if kind is Kind.NUMBER else _first_word(clean)
    if is_cut_off:
        return None
    sentences = _SENTENCE.split(_plain(reply))
    return _claimed_number(sentences, number) if kind is Kind.NUMBER else _last_word(sentences)


def _plain(text: str) -> str:
    return _MARKUP.sub("", text).replace("−", "-").strip()


def _stated_number(text: str, number: re.Pattern[str]) -> str | None:
    """The number after the last "=" of the first sentence ("3 + 4 = 7"), or its first number ("7 apples")."""
    sentence = next((part for part in _SENTENCE.split(text) if part.strip()), "")
    return _number_at(sentence, sentence.rfind("=") + 1, number)


def _claimed_number(sentences: list[str], number: re.Pattern[str]) -> str | None:
    sentence = next((part for part in reversed(sentences) if number.search(part)), None)
    if sentence is None:
        return None
    if len(sentence.split()) <= BARE_WORDS and len(number.findall(sentence)) == 1:
        return _number_at(sentence, 0, number)
    sentence = _without_quoted(sentence)
    for end in [*(reason.start() for reason in _REASON.finditer(sentence)), len(sentence)]:
        clause = sentence[:end]
        claims = [claim for claim in _CLAIM.finditer(clause) if number.search(clause, claim.end())]
        if claims:
            return _number_at(clause, claims[-1].end(), number)
    return None


def _without_quoted(text: str) -> str:
    """Quoted strings repeat the question, unless one is what is claimed: `The result is "56".`"""
    return _QUOTED.sub(lambda quoted: quoted[0] if _ends_with_claim(text[: quoted.start()]) else "", text)


def _ends_with_claim(text: str) -> bool:
    return any(claim.end() == len(text.rstrip()) for claim in _CLAIM.finditer(text))


def _number_at(text: str, start: int, number: re.Pattern[str]) -> str | None:
    match = number.search(text, start)
    if match is None or _OPERATION_FOLLOWS.match(text, match.end()):
        return None
    return match[0].replace(",", "").replace(" ", "").removeprefix("+")


def _first_word(text: str) -> str | None:
    match = _WORD.search(text)
    return match[0] if match else None


def _last_word(sentences: list[str]) -> str | None:
    for sentence in reversed(sentences):
        if words := _WORD.findall(sentence):
            return str(words[-1])
    return None
