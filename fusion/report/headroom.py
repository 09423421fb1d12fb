"""Is there anything to gain? The best of all sources' answers against each source's, and against the target's.

Where the target answered the training prompts, it is compared there; otherwise on the evaluation prompts, before it was
trained; where it answered neither, sources are compared with each other. The measure is whether some answer passes; in
a domain without verdicts it is the highest reward of one answer, for each reward that gives numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fusion.evaluation.intervals import Z95, Interval, difference
from fusion.report.number_text import count, score, signed, signed_span, significant
from fusion.report.record import RunRecord
from fusion.report.samples import Bools, Floats, Samples, load

Scores = npt.NDArray[np.float64]

MARGIN = 0.02
"""A gain below this share of the prompts (or of the reward's spread) is not worth an engine. A choice: one prompt in
fifty."""

BASE = "base"
"""The target before training, among the models of an evaluation."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One domain.

    Example: Compared("gcd", 60, "", {"gemma": 0.4, "smollm": 0.6}, best=0.8, gain=Interval(.2, .1, .3), ...)
    """

    domain: str
    num_prompts: int
    reward: str
    """Empty: share of prompts with a passing answer; otherwise the reward whose highest value is taken."""
    bests: Mapping[str, float]
    """Best of each source's answers, mean over prompts."""
    best: float
    """Best of all sources' answers, mean over prompts."""
    against: str
    """The target, or the best single source where the target did not answer."""
    own: float
    """Best of `against`'s answers."""
    gain: Interval
    """`best` less `own`, on the same prompts."""
    verdict: str
    """A sentence."""


def headroom(record: RunRecord, samples: Samples | None) -> dict[str, object] | None:
    """Context of the section; None: no answers were judged."""
    found, where = compared(record, samples)
    if not found:
        return None
    sources = sorted({source for one in found for source in one.bests})
    rows = [
        {
            "domain": one.domain,
            "prompts": count(one.num_prompts),
            "unit": one.reward,
            "bests": [
                {"text": _number(one.bests.get(source), one.reward), "depth": _depth(one.bests.get(source), one)}
                for source in sources
            ],
            "best": _number(one.best, one.reward),
            "depth": _depth(one.best, one),
            "span": signed_span(one.gain.low, one.gain.high) if not one.reward else _wide_span(one.gain),
            "against": one.against,
            "own": _number(one.own, one.reward),
            "gain": _gain(one),
            "certain": "gained" if one.gain.low > 0 else "",
            "verdict": one.verdict,
        }
        for one in found
    ]
    return {"sources": sources, "rows": rows, "where": where, "has_target": _has_target(record, found)}


def compared(record: RunRecord, samples: Samples | None) -> tuple[list[Compared], str]:
    """(one entry a domain, where it was measured)."""
    if samples is None:
        return [], ""
    if record.target in samples.sources or BASE not in record.held_out_responses:
        return _by_domain(samples, samples.sources, record.target), "training prompts"
    models = {
        name: record.held_out_responses[name] for name in (BASE, *record.sources) if name in record.held_out_responses
    }
    unseen = replace(record, prompts=record.held_out, responses=models, rewards=record.held_out_rewards)
    held_out = load(unseen) if record.held_out is not None else None
    if held_out is None or len(models) < 2 or not held_out.has_verdicts:
        return _by_domain(samples, samples.sources, ""), "training prompts"
    sources = [source for source in held_out.sources if source != BASE]
    return _by_domain(held_out, sources, BASE), "evaluation prompts, before training"


def _by_domain(samples: Samples, sources: Sequence[str], target: str) -> list[Compared]:
    found = []
    for number, domain in enumerate(samples.domains):
        inside = np.asarray(samples.domain_codes == number)
        if (samples.decided & inside).any():
            found.append(_compare(samples, domain, inside, sources, target, "", samples.passed.astype(np.float64)))
            continue
        for reward, values in samples.values.items():
            scored = inside & np.isfinite(values)
            if scored.any():
                found.append(_compare(samples, domain, scored, sources, target, reward, values))
    return found


def _compare(
    samples: Samples, domain: str, inside: Bools, sources: Sequence[str], target: str, reward: str, values: Floats
) -> Compared:
    """Prompts that every one of the models answered, so that differences are paired."""
    models = [*sources, *([target] if target and target not in sources else [])]
    asked = [name for name in models if (inside & samples.of(name)).any()]
    highest = {name: _highest(samples, inside & samples.of(name), values) for name in asked}
    shared = np.all([np.isfinite(column) for column in highest.values()], axis=0)
    kept = {name: column[shared] for name, column in highest.items()}
    mine = {name: kept[name] for name in sources if name in kept}
    if not shared.any() or not mine:
        return Compared(domain, 0, reward, {}, 0.0, "", 0.0, Interval(0, 0, 0), "No prompt was answered by all.")
    best_N = np.max(list(mine.values()), axis=0)
    bests = {name: float(column.mean()) for name, column in mine.items()}
    against = target if target in kept else max(sorted(bests), key=lambda name: bests[name])
    own_N = kept[against]
    best_N = np.maximum(best_N, own_N) if against in mine else best_N
    gain = _difference(best_N, own_N, is_share=not reward)
    spread = 1.0 if not reward else float(np.nanstd(values[inside])) or 1.0
    others = {name: float((column > own_N).mean()) for name, column in mine.items() if name != against}
    one = Compared(
        domain, int(shared.sum()), reward, bests, float(best_N.mean()), against, float(own_N.mean()), gain, ""
    )
    return replace(one, verdict=_verdict(one, others, MARGIN * spread, is_target=against == target))


def _highest(samples: Samples, mask: Bools, values: Floats) -> Scores:
    """The highest value of each prompt's samples in `mask`; NaN: no sample. Indexed by prompt code."""
    found = np.full(int(samples.prompt_codes.max()) + 1, -np.inf)
    np.maximum.at(found, samples.prompt_codes[mask], values[mask])
    found[np.isneginf(found)] = np.nan
    return found


def _difference(ours_N: Scores, theirs_N: Scores, *, is_share: bool) -> Interval:
    """Of shares by `fusion.evaluation.intervals`; of rewards by the normal approximation over prompts."""
    if is_share:
        return difference(ours_N, theirs_N)
    gaps_N = ours_N - theirs_N
    half = Z95 * float(gaps_N.std(ddof=1)) / len(gaps_N) ** 0.5 if len(gaps_N) > 1 else float("inf")
    return Interval(float(gaps_N.mean()), float(gaps_N.mean()) - half, float(gaps_N.mean()) + half)


def _verdict(one: Compared, others: Mapping[str, float], margin: float, *, is_target: bool) -> str:
    """What the numbers say, in words."""
    best_other = max(sorted(others), key=lambda name: others[name], default="")
    if not best_other:
        return f"{one.against} alone answered here; there is nothing to compare it with."
    who = "the target" if is_target else one.against
    does = "a better answer" if one.reward else "a right answer"
    up_to = signed(one.gain.high) if not one.reward else significant(one.gain.high)
    if one.gain.high < margin:
        if one.gain.high < 0:
            return f"Fusion has nothing to gain here: even the best of all sources is worse than {who}."
        if is_target:
            return f"Fusion has nothing to gain here: the best of all sources is at most {up_to} above the target."
        return f"{one.against} alone is enough here: the best of all sources is at most {up_to} above it."
    if one.gain.value <= 0:
        return (
            f"No gain was seen: on {count(one.num_prompts)} prompts no source has {does} where {who} has none. "
            f"So few do not rule out a gain of up to {up_to}."
        )
    if one.gain.low <= 0:
        return (
            f"Too little to tell: on {count(one.num_prompts)} prompts the best of all is "
            f"{_gain(one)} above {who}, and that may be chance."
        )
    share = f"{round(100 * others[best_other])}% of the prompts {best_other} has {does}"
    most = ", the most of all sources" if len(others) > 1 else ""
    if is_target:
        return f"Fusion has something to gain here: on {share} where the target has none{most}."
    return f"No source is enough alone: on {share} where {one.against}, the best, has none."


def _gain(one: Compared) -> str:
    return signed(one.gain.value) if not one.reward else significant(one.gain.value)


def _number(value: float | None, reward: str) -> str:
    if value is None:
        return ""
    return significant(value) if reward else score(value)


def _wide_span(gain: Interval) -> str:
    return f"[{significant(gain.low)}, {significant(gain.high)}]"


def _depth(value: float | None, one: Compared) -> str:
    """How deep a share's colour is; rewards have no scale of their own and stay plain."""
    return "0" if value is None or one.reward else f"{0.5 * value:.2f}"


def _has_target(record: RunRecord, found: Sequence[Compared]) -> bool:
    return any(one.against in (record.target, BASE) for one in found)
