"""The letter that MMLU-Pro's own script takes from a reply, of up to ten (https://github.com/TIGER-AI-Lab/MMLU-Pro).

Three expressions in a row; the first that is found anywhere in the reply decides, whatever the options are:

1. "answer is (B)" or "answer is B": the first such place.
2. "Answer: B": the last such place on the first line that has one.
3. The last letter from A to J that stands alone. (The script's newest form takes the last one within a word, too; the
   predictions that it published are not so.)

A word that begins with such a letter ("answer is Because") and the pronoun I are letters to it. Where it finds none it
draws one by a fixed seed, the same for every reply; here none is found.
"""

from __future__ import annotations

import re

_STATED = re.compile(r"answer is \(?([A-J])")
_LABELLED = re.compile(r"[aA]nswer:(?=\s*([A-J]))")
_ALONE = re.compile(r"\b[A-J]\b")


def published_choice(reply: str, *, is_first_only: bool = False) -> str | None:
    """The letter, or None.

    Args:
        is_first_only: by the first expression alone, as the earliest of the published outputs were read.

    Example: published_choice("It must be warm, so (C) or, rather, (D).") == "D"
    """
    if stated := _STATED.search(reply):
        return stated[1]
    if is_first_only:
        return None
    if first := _LABELLED.search(reply):
        _, _, rest = reply[first.start() :].partition("\n")
        return [place[1] for place in _LABELLED.finditer(reply) if place.start() < len(reply) - len(rest)][-1]
    alone = _ALONE.findall(reply)
    return alone[-1] if alone else None
