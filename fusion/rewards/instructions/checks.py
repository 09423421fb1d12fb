"""The 25 verifiable instructions of IFEval (arXiv 2311.07911), and how a reply is held against several of them.

Verdicts agree with those of the published program (`instruction_following_eval`); where one of its quirks decides,
the check's docstring says so. An empty reply follows nothing.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import get_origin, get_type_hints

from fusion.rewards.instructions import framing, keywords, language, layout, length
from fusion.rewards.instructions.arguments import InstructionError


class Mode(StrEnum):
    STRICT = "strict"
    """The reply as it is."""
    LOOSE = "loose"
    """Any of eight variants: without its first line, its last line, both or neither; with and without asterisks."""


CHECKS: dict[str, Callable[..., bool]] = {
    "change_case:capital_word_frequency": language.capital_word_frequency,
    "change_case:english_capital": language.english_capital,
    "change_case:english_lowercase": language.english_lowercase,
    "combination:repeat_prompt": framing.repeat_prompt,
    "combination:two_responses": framing.two_responses,
    "detectable_content:number_placeholders": layout.number_placeholders,
    "detectable_content:postscript": layout.postscript,
    "detectable_format:constrained_response": layout.constrained_response,
    "detectable_format:json_format": layout.json_format,
    "detectable_format:multiple_sections": layout.multiple_sections,
    "detectable_format:number_bullet_lists": layout.number_bullet_lists,
    "detectable_format:number_highlighted_sections": layout.number_highlighted_sections,
    "detectable_format:title": layout.title,
    "keywords:existence": keywords.existence,
    "keywords:forbidden_words": keywords.forbidden_words,
    "keywords:frequency": keywords.frequency,
    "keywords:letter_frequency": keywords.letter_frequency,
    "language:response_language": language.response_language,
    "length_constraints:nth_paragraph_first_word": length.nth_paragraph_first_word,
    "length_constraints:number_paragraphs": length.number_paragraphs,
    "length_constraints:number_sentences": length.number_sentences,
    "length_constraints:number_words": length.number_words,
    "punctuation:no_comma": framing.no_comma,
    "startend:end_checker": framing.end_checker,
    "startend:quotation": framing.quotation,
}
"""Instruction id -> check(reply, **arguments)."""


def check(
    reply: str, instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, object] | None], mode: Mode
) -> list[bool]:
    """Which instructions `reply` follows, in order.

    Args:
        kwargs: the arguments of each instruction; those that are null are dropped, as data sets pad with them.

    Raises:
        InstructionError: an id is unknown, or arguments do not fit their instruction.

    Example: check("No commas here", ["punctuation:no_comma"], [{}], Mode.STRICT) == [True]
    """
    if len(instruction_ids) != len(kwargs):
        raise InstructionError(f"{len(instruction_ids)} instructions have {len(kwargs)} sets of arguments")
    bound = [(_known(name), _arguments(name, given)) for name, given in zip(instruction_ids, kwargs, strict=True)]
    texts = [text for text in (variants(reply) if mode is Mode.LOOSE else [reply]) if text.strip()]
    return [any(holds(text, **arguments) for text in texts) for holds, arguments in bound]


def variants(reply: str) -> list[str]:
    """The distinct texts of the loose mode, `reply` first."""
    lines = reply.split("\n")
    shorter = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    texts = [reply, *shorter]
    return list(dict.fromkeys([*texts, *(text.replace("*", "") for text in texts)]))


def _known(name: str) -> Callable[..., bool]:
    if name not in CHECKS:
        closest = difflib.get_close_matches(name, CHECKS, n=1, cutoff=0.0)[0]
        raise InstructionError(f"instruction {name!r} is not known; the closest is {closest!r}")
    return CHECKS[name]


def _arguments(name: str, given: Mapping[str, object] | None) -> dict[str, object]:
    """Arguments of the right names and types; whole numbers may come as floats (3.0), as some data sets store them."""
    expected = _parameters(name)
    arguments = {key: value for key, value in (given or {}).items() if value is not None}
    if arguments.keys() != expected.keys():
        raise InstructionError(f"{name} takes {sorted(expected) or 'no arguments'}, got {sorted(arguments)}")
    for key, value in arguments.items():
        if expected[key] is int and isinstance(value, float) and value.is_integer():
            arguments[key] = int(value)
        elif not isinstance(value, expected[key]) or isinstance(value, bool):
            raise InstructionError(f"{name}: {key} must be of type {expected[key].__name__}, got {value!r}")
    return arguments


@cache
def _parameters(name: str) -> dict[str, type]:
    """Argument name -> type, of the check's keyword-only parameters."""
    hints = get_type_hints(CHECKS[name])
    keywords = inspect.signature(CHECKS[name]).parameters.values()
    return {
        keyword.name: get_origin(hints[keyword.name]) or hints[keyword.name]
        for keyword in keywords
        if keyword.kind is inspect.Parameter.KEYWORD_ONLY
    }
