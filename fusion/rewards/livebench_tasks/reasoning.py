"""LiveBench's reasoning: liars, zebra puzzles and shapes.

Facts: livebench/process_results/reasoning/{web_of_lies_v2,zebra_puzzle,spatial}/utils.py; of zebra puzzles those that
were released before 2024-11-25.
"""

from __future__ import annotations

import re

from fusion.rewards.livebench_tasks.marked import bold

NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
SHAPES = ("tetrahedra", "tetrahedron", "triangle", "square")
LAST_BOLD = 3
_BOLD_ITALIC = re.compile(r"\*\*\*(\w+)\*\*\*")
_BOLD_OVER_LINES = re.compile(r"\*\*([^*]+)\*\*")
_WORD = re.compile(r"\w+")


def web_of_lies(reply: str, gold: str) -> float | None:
    """The last bold passage is "yes, no, yes", or has three such words, these among them in this order."""
    passages = bold(reply)
    if not passages:
        return None
    last, wanted = passages[-1].lower(), gold.lower()
    # "unknown" has a "no" in it, and so counts.
    is_three_words = last.count("yes") + last.count("no") == 3
    return float(last == wanted or (is_three_words and wanted in last))


def zebra_puzzle(reply: str, gold: str) -> float | None:
    """The last word between three asterisks, or the reply's last word; 3 and three are one."""
    words = _BOLD_ITALIC.findall(reply) or _WORD.findall(reply)[-1:]
    if not words:
        return None
    word = words[-1].lower()
    spelled = NUMBERS[int(word)] if re.fullmatch("[1-9]", word) else word
    return float(gold.lower() in (word, spelled, f"{word} movies"))


def spatial(reply: str, gold: str) -> float | None:
    """One of the last three bold passages; 3 and three are one, "two tetrahedra" are tetrahedra."""
    passages = [passage.strip().lower() for passage in _BOLD_OVER_LINES.findall(reply)[-LAST_BOLD:]]
    return float(any(_is_same(passage, gold.strip().lower()) for passage in passages)) if passages else None


def _is_same(passage: str, wanted: str) -> bool:
    if passage == wanted or (passage in NUMBERS and str(NUMBERS.index(passage)) == wanted):
        return True
    return wanted in SHAPES and wanted in passage and len(passage) < 2 * len(wanted) + 5
