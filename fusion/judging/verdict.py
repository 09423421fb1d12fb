"""From a judge's words to a number, strictly: what is not a verdict beyond doubt is none."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusion.choice import Choice

MARK = re.compile(r"\[\[([^\[\]]*)\]\]")
NUMBER = re.compile(r"-?\d+(\.\d+)?")
THOUGHT_END = "</think>"


class Unparsable(Exception):  # noqa: N818 (an outcome of a judgement)
    """The reply holds no verdict, or more than one."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judge's reply.

    `tail` holds its last tokens in order, each with the log-probabilities (nats) of the tokens that might have stood
    there; empty where they were not asked for.

    Example: Judgement("Both are right.\\n[[C]]", "stop")
    """

    text: str
    finish_reason: str
    tail: tuple[tuple[str, Mapping[str, float]], ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a verdict is worth. Examples: Reading(7.0), a mark; Reading(1.0, 3.0), answer A is much better."""

    value: float
    """A mark, or in [0, 1] how far answer A wins."""
    weight: float = 1.0
    """Games that a comparison counts for."""


STRONG_GAMES = 3.0
"""What "much better" counts for (arena-hard-auto, show_result.py: `load_judgments(weight=3)`, of v0.1 `WEIGHT=3`)."""


class Verdicts(Choice):
    """What a judge of two answers may say."""

    THREE = "three"
    """A, B, or C: neither is better."""
    FIVE = "five"
    """Arena-Hard's: A>>B and B>>A (much better), A>B and B>A (slightly), A=B."""

    @property
    def readings(self) -> Mapping[str, Reading]:
        """Verdict -> how far answer A wins. A strong win is a whole win, as a slight one is, in more games."""
        if self is Verdicts.THREE:
            return {"A": Reading(1.0), "B": Reading(0.0), "C": Reading(0.5)}
        return {
            "A>>B": Reading(1.0, STRONG_GAMES), "A>B": Reading(1.0), "A=B": Reading(0.5), "B>A": Reading(0.0),
            "B>>A": Reading(0.0, STRONG_GAMES),
        }  # fmt: skip


def swapped(readings: Mapping[str, Reading]) -> dict[str, Reading]:
    """The same of answer B."""
    return {name: Reading(1.0 - one.value, one.weight) for name, one in readings.items()}


def pooled(readings: Sequence[Reading], shares: Sequence[float] | None = None) -> Reading:
    """Several as one: the mean value of their games, and the mean number of games.

        weight = sum_i p_i w_i / sum_i p_i,   value = sum_i p_i w_i v_i / sum_i p_i w_i

    Args:
        shares: p; None: all alike.

    Example: pooled([Reading(1.0, 3.0), Reading(0.0)]) == Reading(0.75, 2.0)
    """
    shares = [1.0] * len(readings) if shares is None else shares
    games = [share * one.weight for share, one in zip(shares, readings, strict=True)]
    value = sum(count * one.value for count, one in zip(games, readings, strict=True)) / sum(games)
    return Reading(value, sum(games) / sum(shares))


def verdict(judgement: Judgement) -> str:
    """What stands in double square brackets.

    Raises:
        Unparsable: nothing does, different things do, or the reply was cut.
    """
    if judgement.finish_reason != "stop":
        raise Unparsable(f"the judge's reply was ended by {judgement.finish_reason}")
    said = judgement.text.rpartition(THOUGHT_END)[2]
    found = sorted({mark.strip() for mark in MARK.findall(said)})
    if len(found) != 1:
        seen = f"several verdicts: {', '.join(found)}" if found else "no verdict in double square brackets"
        raise Unparsable(f"the judge's reply holds {seen}")
    return str(found[0])


def number(judgement: Judgement, low: float, high: float) -> Reading:
    """A mark in [low, high].

    Raises:
        Unparsable: the verdict is no number, or outside.
    """
    said = verdict(judgement)
    if not NUMBER.fullmatch(said) or not low <= float(said) <= high:
        raise Unparsable(f"the verdict {said!r} is no number from {low:g} to {high:g}")
    return Reading(float(said))


def choice(judgement: Judgement, readings: Mapping[str, Reading]) -> Reading:
    """What a verdict is worth that is one of the names in `readings`.

    Raises:
        Unparsable: it is another.
    """
    return readings[_named(judgement, readings)]


def expected(judgement: Judgement, readings: Mapping[str, Reading]) -> Reading:
    """All `readings`, pooled by the judge's own probabilities of the verdicts, which must be one token each: of those
    among the tokens that might have stood there.

    Raises:
        Unparsable: the verdict is none of `readings`, or no token of its own.
    """
    said = _named(judgement, readings)
    place = _place(judgement, said)
    shares: dict[str, float] = {}
    for token, logprob in judgement.tail[place][1].items():
        if token.strip() in readings:
            shares[token.strip()] = shares.get(token.strip(), 0.0) + math.exp(logprob)
    if not sum(shares.values()) > 0:
        raise Unparsable("the judge reports no probabilities of its verdict")
    return pooled([readings[name] for name in shares], list(shares.values()))


def _named(judgement: Judgement, readings: Mapping[str, Reading]) -> str:
    said = verdict(judgement)
    if said not in readings:
        raise Unparsable(f"the verdict {said!r} is none of {', '.join(readings)}")
    return said


def _place(judgement: Judgement, said: str) -> int:
    """Which token of the tail is the verdict."""
    text = "".join(token for token, _ in judgement.tail)
    marks = list(MARK.finditer(text))
    start = marks[-1].start(1) + marks[-1][1].index(said) if marks and said in marks[-1][1] else len(text)
    position = 0
    for place, (token, _) in enumerate(judgement.tail):
        position += len(token)
        if position > start:
            if token.strip() == said:
                return place
            break
    raise Unparsable(f"the verdict {said!r} is not a token of its own; set weighted=false for this judge")
