"""Counts sentences as NLTK's English Punkt model does, whose trained data is a download of its own.

A sentence ends at a word with `.`, `?` or `!` that more text follows. Punkt learned from newspapers which words with
a full stop do not end one; here that is a list of abbreviations, with Punkt's rules for initials, list numbers and
dots. Its quirks are kept, for verdicts turn on them: a line break ends no sentence, so a heading or a list item
without a full stop belongs to what follows, while the "1." of a numbered list is a sentence of its own.
"""

from __future__ import annotations

import re

_END = re.compile(r".*[.?!](?=[)\";}\]*:@'({\[!?])|.*[.?!]$", re.DOTALL)
"""The last place in a word where a sentence may end: before other punctuation, or at the word's end."""
_OPENING = '("`{[:;&#*@)}]-,'
_AFTER = ".,;:!?\"')]}*"
_INNER = re.compile(r"[)\";}\]*:@({\[!?]")
_LAST = re.compile(r"\s*[\"')\]}]*\s*\Z")
"""Nothing but a closing mark follows: it belongs to the sentence before."""

_ABBREVIATIONS = (
    "mr mrs ms dr prof messrs jr sr sen rep reps gen adm col lt maj st ave ft yr vs inc co cos corp ltd bros cie "
    "jan feb aug sep sept oct nov dec tues wed fri a.m p.m a.d u.s u.k u.n u.s.a u.s.s.r l.a d.c ph.d m.b.a j.k "
    "ala ariz calif colo conn fla ga ill kan ky mich minn n.c n.d n.h n.j n.m n.y nev okla ore pa r.i s.c tenn va vt "
    "wash wis w.va c d e f g h k l m n p r s t v w"
)
_STARTERS = (
    "the this these that a an it he she they we you i there in on at but and so if when while as for since although "
    "though however instead thus yet then both most many some moreover meanwhile despite therefore"
)
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
"""Words that end no sentence with their full stop (left off here, lower case), of those that Punkt learned.

It did not learn "etc.", "e.g.", "i.e." and "al.", nor the other single letters.
"""
STARTERS = frozenset(_STARTERS.split())
"""Words that, capitalised, begin a sentence even after an abbreviation, dots or an initial."""


def count_sentences(text: str) -> int:
    """Number of sentences; 0 for a text without words.

    Example: count_sentences("Dr. Lee left. Why? 1. Rain") == 4: the list number counts.
    """
    words = list(re.finditer(r"\S+", text))
    count = min(len(words), 1)
    for word, following in zip(words, [*words, None][1:], strict=True):
        match = _END.match(word[0])
        if match is None or _LAST.match(text, word.start() + match.end()):
            continue
        rest = word[0][match.end() :]
        count += _ends_sentence(match[0], rest or (following[0] if following else ""))
    return count


def _ends_sentence(word: str, following: str) -> bool:
    """Whether `word`, which ends in one of .?!, ends its sentence before `following`."""
    if not word.endswith("."):
        return True
    word = _INNER.split(word.lstrip(_OPENING))[-1]
    stem = word[:-1].lower()
    is_capitalised = following[:1].isupper()
    starts = is_capitalised and following.rstrip(_AFTER).lower() in STARTERS
    if len(stem) == 1 and stem.isalpha():
        return stem not in ABBREVIATIONS and (starts or not following[:1].isalpha())
    if word.endswith("..") or stem.split("-")[-1] in ABBREVIATIONS:
        return starts
    return not (following[:1].islower() and stem.lstrip("-").replace(",", "").replace(".", "").isdigit())
