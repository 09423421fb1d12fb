"""From a judge's words to a number, strictly: what is not a verdict beyond doubt is none."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

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


def number(judgement: Judgement, low: float, high: float) -> float:
    """The score, in [low, high].

    Raises:
        Unparsable: the verdict is no number, or outside.
    """
    said = verdict(judgement)
    if not NUMBER.fullmatch(said) or not low <= float(said) <= high:
        raise Unparsable(f"the verdict {said!r} is no number from {low:g} to {high:g}")
    return float(said)


def choice(judgement: Judgement, values: Mapping[str, float]) -> float:
    """The value of a verdict that is one of the names in `values`.

    Raises:
        Unparsable: it is another.
    """
    said = verdict(judgement)
    if said not in values:
        raise Unparsable(f"the verdict {said!r} is none of {', '.join(values)}")
    return values[said]


def expected(judgement: Judgement, values: Mapping[str, float]) -> float:
    """The mean of `values` under the judge's own probabilities of the verdicts, which must be one token each.

        sum_v p(v) value(v) / sum_v p(v),  over the verdicts v among the tokens that might have stood there

    Raises:
        Unparsable: the verdict is none of `values`, or no token of its own.
    """
    said = verdict(judgement)
    if said not in values:
        raise Unparsable(f"the verdict {said!r} is none of {', '.join(values)}")
    place = _place(judgement, said)
    weights: dict[str, float] = {}
    for token, logprob in judgement.tail[place][1].items():
        if token.strip() in values:
            weights[token.strip()] = weights.get(token.strip(), 0.0) + math.exp(logprob)
    total = sum(weights.values())
    if not total > 0:
        raise Unparsable("the judge reports no probabilities of its verdict")
    return sum(weight * values[name] for name, weight in weights.items()) / total


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
