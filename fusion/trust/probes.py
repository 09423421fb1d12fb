"""Gates on a scorer itself: the same answers scored in other ways must have the same values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from fusion.rewards.base import Candidate, Score, Scorer
from fusion.schema import hash_text
from fusion.trust.known_answer import KnownAnswer
from fusion.trust.result import GateResult, unmeasured


@runtime_checkable
class PadsEitherSide(Protocol):
    """A scorer whose padding side can be set; None: it has no choice."""

    padding_side: str | None

    def score(self, candidates: Sequence[Candidate]) -> list[Score]: ...


def number(score: Score) -> float | None:
    """The value where it is one: NaN and infinity are faults of a scorer, not scores."""
    return score.value if score.value is not None and math.isfinite(score.value) else None


def batching_gate(scorer: Scorer, candidates: Sequence[Candidate], limit: float) -> GateResult:
    """Whether a score depends on what else is in its batch: each answer alone against all together."""
    if len(candidates) < 2:
        return unmeasured("batching", limit, f"{len(candidates)} answers to try; two or more are needed")
    alone = [scorer.score([one])[0] for one in candidates]
    return _compared("batching", candidates, scorer.score(candidates), alone, limit, "alone")


def padding_gate(scorer: Scorer, candidates: Sequence[Candidate], limit: float) -> GateResult:
    """Whether a score depends on the side on which its batch is padded."""
    if not isinstance(scorer, PadsEitherSide) or scorer.padding_side is None:
        return unmeasured("padding", limit, "the scorer has no padding side to choose")
    if len({len(one.text) for one in candidates}) < 2:
        return unmeasured("padding", limit, "answers of several lengths are needed")
    found = {}
    for side in ("right", "left"):
        with _padded(scorer, side):
            found[side] = scorer.score(candidates)
    return _compared("padding", candidates, found["right"], found["left"], limit, "padded on the left")


def known_answers_gate(
    scorer: Scorer, candidates: Sequence[Candidate], known: Sequence[KnownAnswer], reward: str
) -> GateResult:
    """Whether recorded scores come out again. Measured: the largest deviation in units of its tolerance."""
    mine = [entry for entry in known if entry.reward == reward]
    probes = [(entry, _probe(entry, candidates)) for entry in mine]
    found = [(entry, probe) for entry, probe in probes if probe is not None]
    if not found:
        why = f"none of {len(mine)} recorded answers is in the sample" if mine else "no score of it is recorded"
        return unmeasured("known_answers", 1.0, f"{why} (trust.known_answers)")
    scores = scorer.score([probe for _, probe in found])
    deviations = [
        (_deviation(number(score), entry), entry, score) for (entry, _), score in zip(found, scores, strict=True)
    ]
    worst, entry, score = max(deviations, key=lambda item: item[0])
    recorded = f"{entry.value:.5g} +- {entry.tolerance:g}"
    detail = f"of {len(found)} recorded scores the farthest is {_said(score)}, recorded as {recorded}"
    return GateResult("known_answers", worst <= 1.0, worst, 1.0, detail)


def _compared(
    gate: str, candidates: Sequence[Candidate], usual: Sequence[Score], other: Sequence[Score], limit: float, how: str
) -> GateResult:
    """The largest difference in standard deviations of the usual values; an answer that is scored in only one of the
    two ways differs without bound."""
    values = [value for value in map(number, usual) if value is not None]
    if not values:
        return unmeasured(gate, limit, f"none of {len(candidates)} answers has a value")
    spread = statistics.pstdev(values)
    worst, at = max((_apart(a, b, spread), -i) for i, (a, b) in enumerate(zip(usual, other, strict=True)))
    one, said, again = candidates[-at], usual[-at], other[-at]
    detail = (
        f"of {len(candidates)} answers that of {one.source} to {one.prompt_id} moved most: {_said(said)}, {how} "
        f"{_said(again)}; unit: the standard deviation of values, {spread:.3g}"
    )
    return GateResult(gate, worst <= limit, worst, limit, detail)


def _apart(one: Score, other: Score, spread: float) -> float:
    a, b = number(one), number(other)
    if one.outcome != other.outcome or (a is None) != (b is None):
        return math.inf
    difference = 0.0 if a is None or b is None else abs(a - b)
    return difference / spread if spread else math.inf if difference else 0.0


def _deviation(value: float | None, entry: KnownAnswer) -> float:
    return math.inf if value is None else abs(value - entry.value) / entry.tolerance


def _said(score: Score) -> str:
    return f"{score.outcome.value} {score.detail or ''}".strip() if score.value is None else f"{score.value:.6g}"


def _probe(entry: KnownAnswer, candidates: Sequence[Candidate]) -> Candidate | None:
    if entry.prompt is not None and entry.response is not None:
        messages = ({"role": "user", "content": entry.prompt},)
        text = entry.response
        return Candidate("known answer", messages, "", "", None, "known answer", 0, text, "stop")
    wanted = (entry.prompt_id, entry.text_hash)
    return next((one for one in candidates if (one.prompt_id, hash_text(one.text)) == wanted), None)


@contextmanager
def _padded(scorer: PadsEitherSide, side: str) -> Iterator[None]:
    before, scorer.padding_side = scorer.padding_side, side
    try:
        yield
    finally:
        scorer.padding_side = before
