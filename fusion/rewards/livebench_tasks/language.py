"""LiveBench's language: groups of words, sentences of a plot in order, typing errors mended.

Facts: livebench/process_results/writing/{connections,plot_unscrambling,typos}/utils.py; of word groups those that were
released before 2024-11-25.
"""

from __future__ import annotations

import difflib

from fusion.rewards.code_reference import BadReference
from fusion.rewards.livebench_tasks.marked import bold

GROUP = 4
"""Words that belong together."""
SUMMARY = "<PLOT_SUMMARY>"


def connections(reply: str, gold: str) -> float | None:
    """Share of the gold groups that a bold passage has; the best passage counts.

    Example: connections("**a, b, c, d, e, x, g, h**", "d, c, b, a, e, f, g, h") == 0.5
    """
    passages = bold(reply)
    wanted = _groups(gold)
    return max((_share(_groups(passage), wanted) for passage in passages), default=None)


def plot_unscrambling(reply: str, gold: str) -> float | None:
    """1 - edits / sentences, where each gold sentence stands where the reply's closest sentence does."""
    from rapidfuzz.distance import Levenshtein

    wanted = _sentences(gold)
    if not wanted:
        raise BadReference("the gold plot has no sentence")
    answered = _sentences(reply.partition(SUMMARY)[2] if SUMMARY in reply else reply)
    if not answered:
        return None
    closest = (difflib.get_close_matches(sentence, answered, n=1, cutoff=0.0) for sentence in wanted)
    order = [answered.index(found[0]) for found in closest]
    return 1 - Levenshtein.distance(order, list(range(len(wanted)))) / len(wanted)


def typos(reply: str, gold: str) -> float | None:
    """The text, letter by letter, is in the last line of the reply."""
    lines = [line for line in reply.split("\n") if line]
    return float(gold in lines[-1]) if lines else None


def _groups(text: str) -> list[set[str]]:
    words = [word.strip().lower() for word in text.split(",")]
    return [set(words[start : start + GROUP]) for start in range(0, len(words), GROUP)]


def _share(answered: list[set[str]], wanted: list[set[str]]) -> float:
    return sum(any(group <= one for one in answered) for group in wanted) / len(wanted)


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in text.split(".") if sentence.strip()]
