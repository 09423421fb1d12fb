"""Whether a reply's answer equals a gold answer: as text, as numbers, and then by math-verify.

Runs in the verifier's child process: sympy may take for ever, and the deadline is the parent's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fusion.rewards.math_measure import same_in_base, same_measure
from fusion.rewards.math_text import is_prose, is_words, key, plain, quantity, same_quantity, searchable
from fusion.rewards.stated_answer import Form, opens_json, stated_answer, without_reasoning
from fusion.schema import Outcome

_SENTENCE_END = re.compile(r"(?<=[\w)}\]$*\"%])[.!?。](?:\s|$)|\n")
_DENIED = re.compile(r",?\s+(?:and not|but not|not|rather than|instead of)\s+[^.,;\n]*")
_GIVES_UP = re.compile(
    r"\b(?:(?:do|does|did) ?n[o']t know|cannot|can't|could ?n[o']t|unable to|not sure|no idea)\b[^.!?\n]*[.!?]?\s*$",
    re.I,
)
_BLANKS = re.compile(r"\s*[;；]\s*")


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    detail: str | None = None


class UndecidedError(Exception):
    """The gold answer or the reply's is a formula that does not parse, so nothing can be decided."""


def judge(gold: str, reply: str, is_cut_off: bool) -> Verdict:
    r"""Pass, fail, or an error where the gold answer, or a formula that is the reply's, cannot be read.

    Args:
        gold: an answer, a worked solution that states one, or a JSON list of answers of which any will do. Answers to
            several blanks stand in their order, parted by ";".
        reply: the stated answer counts (see `stated_answer`); in a reply that states none, the last mathematics does.
        is_cut_off: the reply reached its token limit, so only a stated answer counts.
    """
    answer = _answer(reply, is_cut_off)
    if answer is None or not re.search(r"[^\W_]", answer):
        return Verdict(Outcome.FAIL, f"no answer found, expected {gold}"[:300])
    undecided: list[str] = []
    for accepted in accepted_golds(gold):
        try:
            if _equal(accepted, answer):
                return Verdict(Outcome.PASS)
        except UndecidedError as error:
            undecided.append(str(error))
    if undecided:
        return Verdict(Outcome.ERROR, undecided[0])
    return Verdict(Outcome.FAIL, f"answered {answer[:150]}, expected {gold}"[:300])


def accepted_golds(gold: str) -> list[str]:
    """The answers that a reference accepts, one of which a JSON list, a solution or the text itself holds.

    Example: accepted_golds("2 + 70 = 72\\n#### 72") == ["72"]
    """
    if gold.startswith('["'):
        try:
            golds = json.loads(gold)
        except ValueError:
            golds = []
        if golds and all(isinstance(one, str) for one in golds):
            return [str(one) for one in golds]
    stated = stated_answer(gold)
    return [stated.text if stated else gold]


def _answer(reply: str, is_cut_off: bool) -> str | None:
    reply = without_reasoning(reply)
    stated = stated_answer(reply)
    if stated is None:
        return None if is_cut_off or opens_json(reply) or _GIVES_UP.search(reply) else _DENIED.sub("", reply)
    if stated.form is Form.STATEMENT:
        return _DENIED.sub("", _SENTENCE_END.split(stated.text, maxsplit=1)[0])
    inner = stated_answer(stated.text)  # a JSON answer may be a sentence that states one
    return inner.text if inner else stated.text


def _equal(gold: str, answer: str) -> bool:
    golds, answers = _BLANKS.split(gold), _BLANKS.split(answer)
    if len(golds) > 1:
        if len(answers) != len(golds):
            answers = [part.strip() for part in plain(answer).split(",")]
        return len(golds) == len(answers) and all(map(_equal, golds, answers))
    plain_gold, plain_answer = plain(gold), plain(answer)
    if key(plain_gold) == key(plain_answer):
        return True
    if is_words(plain_gold) and is_words(plain_answer):
        return False
    if (in_bases := same_in_base(plain_gold, plain_answer)) is not None:
        return in_bases
    one, other = quantity(plain_gold), quantity(plain_answer.rsplit("=", 1)[-1].strip())
    # With a letter on both sides it may be a variable: 3x is not 3y.
    if one and other and not (one.unit and other.unit):
        return same_quantity(one, other)
    if one and other and (measured := same_measure(one, other)) is not None:
        return measured
    return _equal_to_math_verify(plain_gold, answer if is_prose(answer) else f"${plain_answer}$")


def _equal_to_math_verify(gold: str, answer: str) -> bool:
    from math_verify import verify

    parsed_gold = _parsed(f"${gold}$") or _parsed(gold)
    if not parsed_gold:
        raise UndecidedError(f"the gold answer {gold!r} does not parse; give it as LaTeX or as a number")
    parsed_answer = _parsed(answer)
    if not parsed_answer and _is_formula(answer):  # in prose, none is a wrong answer: "Cannot be determined"
        raise UndecidedError(f"the answer {answer[:150]} does not parse, expected {gold}"[:300])
    # The order matters: (gold, answer).
    return any(
        verify(one, other, timeout_seconds=None, raise_on_error=True, allow_set_relation_comp=True)
        for one in parsed_gold
        for other in parsed_answer
    )


@lru_cache(maxsize=256)
def _parsed(text: str) -> tuple[Any, ...]:
    """What sympy makes of a formula between dollar signs, or of the last mathematics in prose."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    # A formula that is no LaTeX must not be read as the numbers in it: 3@5 is not 5.
    targets = [LatexExtractionConfig()] if _is_formula(text) else [LatexExtractionConfig(), ExprExtractionConfig()]
    found = parse(searchable(text), targets, fallback_mode="no_fallback", parsing_timeout=None, raise_on_error=True)
    return tuple(found)


def _is_formula(text: str) -> bool:
    return re.fullmatch(r"\$[^$]+\$", text) is not None
