"""Gates on scored answers: what moves a reward's values beside quality. Pure functions of rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from fusion.trust.judged import Judged, by_prompt, spearman, superiority
from fusion.trust.result import GateResult, unmeasured


def length_gate(rows: Sequence[Judged], limit: float, min_prompts: int) -> GateResult:
    """Whether values follow length: Spearman's rho within each prompt, mean over prompts; either sign counts.

    Sources that are better and wordier move it, too; where sources answered several times, the detail says what remains
    within the answers of one source, where strength is no part of it.
    """
    rhos = _rhos(by_prompt(rows).values())
    if len(rhos) < min_prompts:
        return unmeasured(
            "length", limit, _too_few(len(rhos), min_prompts, "have answers of several lengths and values")
        )
    mean = statistics.fmean(rhos)
    tendency = "longer" if mean > 0 else "shorter"
    detail = f"{tendency} answers score higher: rank correlation {_with_error(rhos)} over {len(rhos)} prompts"
    own = _rhos([[r for r in group if r.source == s] for group in by_prompt(rows).values() for s in _sources(group)])
    within = f", {_with_error(own)} within one source" if len(own) >= min_prompts else ""
    return GateResult("length", abs(mean) <= limit, mean, limit, detail + within)


def favouritism_gate(rows: Sequence[Judged], families: Mapping[str, str], limit: float, min_prompts: int) -> GateResult:
    """Whether one family of models is ranked above, or below, what it deserves.

    Of each family f, the mean over prompts of its rank residual, scaled to the share of the others so that the number
    of its answers does not matter:

        P(value of f > value of another) - P(f is right and another is wrong), ties counting half in both

    Where a verifier did not decide all answers of a prompt, the second term is 1/2: families are taken for equals.
    The family that lies farthest off, either way, is measured.
    """
    residuals: dict[str, list[float]] = {}
    for group in by_prompt(rows).values():
        for family, residual in _residuals(group, families).items():
            residuals.setdefault(family, []).append(residual)
    enough = {family: found for family, found in residuals.items() if len(found) >= min_prompts}
    if not enough:
        most = max(map(len, residuals.values()), default=0)
        return unmeasured("favouritism", limit, _too_few(most, min_prompts, "have answers of several families"))
    means = {family: statistics.fmean(found) for family, found in enough.items()}
    # Of two families one gains what the other loses: the one that gains is named.
    family = max(sorted(means), key=lambda name: (round(abs(means[name]), 9), means[name]))
    mean, found = means[family], enough[family]
    tendency = "above" if mean > 0 else "below"
    detail = f"{family} is ranked {tendency} what is due to it: {_with_error(found)} over {len(found)} prompts"
    return GateResult("favouritism", abs(mean) <= limit, mean, limit, detail)


def agreement_gate(rows: Sequence[Judged], limit: float, min_prompts: int) -> GateResult:
    """Whether right answers are ranked above wrong ones of a prompt: area under the ROC curve, mean over prompts."""
    areas = []
    for group in by_prompt(rows).values():
        right = [row.value for row in group if row.is_right is True]
        wrong = [row.value for row in group if row.is_right is False]
        if right and wrong:
            areas.append(superiority(right, wrong))
    if len(areas) < min_prompts:
        return unmeasured("agreement", limit, _too_few(len(areas), min_prompts, "have right and wrong answers"))
    mean = statistics.fmean(areas)
    detail = f"a right answer is ranked above a wrong one with chance {_with_error(areas)} over {len(areas)} prompts"
    return GateResult("agreement", mean >= limit, mean, limit, detail)


def _rhos(groups: Iterable[Sequence[Judged]]) -> list[float]:
    """Rank correlation of value and length of each group in which both vary."""
    found = [spearman([row.value for row in group], [row.length for row in group]) for group in groups]
    return [rho for rho in found if rho is not None]


def _sources(group: Sequence[Judged]) -> list[str]:
    return list(dict.fromkeys(row.source for row in group))


def _residuals(group: Sequence[Judged], families: Mapping[str, str]) -> dict[str, float]:
    """Family -> how much oftener than it should it is above the others, in one prompt with several families."""
    members: dict[str, list[Judged]] = {}
    for row in group:
        members.setdefault(families.get(row.source, row.source), []).append(row)
    if len(members) < 2:
        return {}
    decided = all(row.is_right is not None for row in group)
    found = {}
    for family, own in members.items():
        others = [row for name, rows in members.items() if name != family for row in rows]
        ranked = superiority([row.value for row in own], [row.value for row in others])
        due = superiority([bool(r.is_right) for r in own], [bool(r.is_right) for r in others]) if decided else 0.5
        found[family] = ranked - due
    return found


def _with_error(values: Sequence[float]) -> str:
    """Mean and standard error over prompts."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{statistics.fmean(values):.3f} +- {error:.3f}"


def _too_few(count: int, needed: int, what: str) -> str:
    return f"{count} prompts {what}, of {needed} needed (trust.min_prompts)"
