"""How many words, sentences and paragraphs a reply has."""

from __future__ import annotations

import re

from fusion.rewards.instructions.arguments import holds
from fusion.rewards.instructions.sentences import count_sentences

_WORD = re.compile(r"\w+")
_DIVIDER = "***"
_WORD_ENDS = re.compile(r"[.,?!'\"]")


def number_words(reply: str, *, num_words: int, relation: str) -> bool:
    """Words are runs of letters, digits and underscores: "don't" has two."""
    return holds(len(_WORD.findall(reply)), relation, num_words)


def number_sentences(reply: str, *, num_sentences: int, relation: str) -> bool:
    """Sentences as `count_sentences` counts them."""
    return holds(count_sentences(reply), relation, num_sentences)


def number_paragraphs(reply: str, *, num_paragraphs: int) -> bool:
    """Exactly so many paragraphs, divided by `***`.

    A divider may open or close the reply; an empty paragraph in between fails. The divider is looked for anywhere, so
    `****` or `***bold***` divides too.
    """
    first, *others = reply.split(_DIVIDER)
    if not others:
        return num_paragraphs == (1 if first.strip() else 0)
    *inner, last = others
    if not all(paragraph.strip() for paragraph in inner):
        return False
    return len(inner) + bool(first.strip()) + bool(last.strip()) == num_paragraphs


def nth_paragraph_first_word(reply: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    r"""Exactly so many paragraphs, divided by an empty line, and the n-th (from 1) starts with the word, in any case.

    Two quirks of the published check decide verdicts. Empty paragraphs do not count, but keep their place: after
    "\n\n\n\n" the n-th is one of them, which fails. And the word ends at the first of .,?!'" only: `Weekend:` is
    another word than "weekend".
    """
    paragraphs = reply.split("\n\n")
    filled = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if filled != num_paragraphs or not 1 <= nth_paragraph <= filled:
        return False
    words = paragraphs[nth_paragraph - 1].split(maxsplit=1)
    if not words:
        return False
    start = words[0].lstrip("'").lstrip('"')
    return _WORD_ENDS.split(start, maxsplit=1)[0].lower() == first_word.lower()
