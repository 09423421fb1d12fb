"""The detail of a comparison: what both orders gave, and how many games that counts where it is not one.

A score has room for one number, its value; so the games stand in its detail, which is written and read here.
"""

from __future__ import annotations

import re

from fusion.judging.verdict import STRONG_GAMES, Reading

DISAGREE = "the orders disagree"
"""In the detail of a comparison whose two verdicts contradict each other."""
WORDS = {
    Reading(1.0, STRONG_GAMES): "strong win",
    Reading(1.0): "win",
    Reading(0.5): "tie",
    Reading(0.0): "loss",
    Reading(0.0, STRONG_GAMES): "strong loss",
}
_GAMES = re.compile(r"first: .*, second: .*; games (\d+(?:\.\d+)?)")


def described(first: Reading, second: Reading, games: float, *, disagree: bool) -> str:
    """What a comparison says of itself.

    Args:
        games: of an order, on average.

    Example:
        described(Reading(1.0, 3.0), Reading(1.0), 2.0, disagree=False) == "first: strong win, second: win; games 2"
    """
    said = f"first: {_word(first)}, second: {_word(second)}"
    return said + (f"; {DISAGREE}" if disagree else "") + (f"; games {games:g}" if games != 1.0 else "")


def games_in(detail: str | None) -> float:
    """How many games a comparison counts; 1 where its detail says nothing else."""
    found = _GAMES.fullmatch(detail or "")
    return float(found[1]) if found else 1.0


def _word(reading: Reading) -> str:
    return WORDS.get(reading, f"{reading.value:.3f}")
