"""LiveBench's math: letters and numbers of contests, and proofs whose formulas are to be put in order.

Facts: livebench/process_results/math/{math_competitions,olympiad}/utils.py. AMPS_Hard is in `amps_hard`.
"""

from __future__ import annotations

import re

from fusion.rewards.code_reference import BadReference
from fusion.rewards.livebench_tasks.marked import boxed

REPEATS = 4
"""The question asks for the letter five times in a row; so many are enough."""
END = 20
"""How much of a reply's end is searched for an answer that is written out."""
_REPEATED = re.compile(rf"([A-F])\1{{{REPEATS - 1}}}")
_OPTION = re.compile(r"\\textbf\{\(([A-E])\)\s?\}(.*?)(?:\\qquad|\$)")
_NUMBER = re.compile(r"[0-9]+")


def contest_letter(reply: str, gold: str, question: str) -> float | None:
    """AMC and SMC: the letter several times in a row, the letter in a box, or the option's own text at the end."""
    if not re.fullmatch("[A-E]", gold):
        raise BadReference(f"the gold answer {gold!r} is no letter from A to E")
    text = _options(question).get(gold)
    in_box = boxed(reply)
    if gold * REPEATS in reply or in_box == gold or (text and text in reply[-(END + len(text)) :]):
        return 1.0
    return 0.0 if in_box is not None or _REPEATED.search(reply) else None


def contest_number(reply: str, gold: str) -> float | None:
    """AIME: the number stands at the end of the reply."""
    if not _NUMBER.fullmatch(gold):
        raise BadReference(f"the gold answer {gold!r} is no number")
    end = reply[-END:]
    if gold in end:
        return 1.0
    return 0.0 if _NUMBER.search(end) else None


def olympiad(reply: str, gold: str) -> float | None:
    """IMO and USAMO: numbers of formulas in order; 1 - edits / length of the longer list.

    Numbers are read after the last "Answer", one between two commas, up to the first one, of those after the first,
    that has other text with it.

    Example: olympiad("Answer: 3, 1, 2", "1,3,2") == 1 - 2 / 3
    """
    from rapidfuzz.distance import Levenshtein

    try:
        wanted = [str(int(number)) for number in gold.split(",")]
    except ValueError as error:
        raise BadReference(f"the gold answer {gold!r} is no list of numbers") from error
    answered = _ordering(reply)
    if not answered:
        return None
    return 1 - Levenshtein.distance(answered, wanted) / max(len(answered), len(wanted))


def _options(question: str) -> dict[str, str]:
    """Letter -> text of the option, without LaTeX's spaces. Options without text are left out."""
    found = {letter: text.strip().strip("$").strip("~") for letter, text in _OPTION.findall(question)}
    return {letter: text for letter, text in found.items() if text}


def _ordering(reply: str) -> list[str]:
    """Numbers as text, for a reply may hold one that is too long to be read."""
    numbers = []
    for place, part in enumerate(reply.rpartition("Answer")[2].split(",")):
        found = _NUMBER.search(part)
        if found:
            numbers.append(found[0].lstrip("0") or "0")
        if place and part.strip() != (found[0] if found else ""):
            break
    return numbers
