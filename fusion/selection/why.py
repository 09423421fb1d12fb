"""What the reasons of a selection mean, for the rows it drops and for who ran it."""

from __future__ import annotations

from collections.abc import Mapping

from fusion.schema import Reason

DETAIL: Mapping[Reason, str] = {
    Reason.NO_RESPONSE: "no source gave an answer that is there, not empty, and ranked",
    Reason.UNCLEAN: "every answer carries what selection.clean_by keeps out",
    Reason.TRUNCATED: "every answer was cut off",
    Reason.NO_PASSING_RESPONSE: "no whole answer may be chosen: none passes",
    Reason.NO_FAILING_RESPONSE: "no answer may be rejected: none fails",
    Reason.NO_SAME_SOURCE_PAIR: "no two answers that pair_policy lets meet, one to choose and one to reject",
    Reason.TIE: "best and worst answer have one reward, or one text",
    Reason.MARGIN_OUTSIDE_WINDOW: "no pair has a margin within selection's window",
    Reason.OTHER_PHASE: "it trains in the other phase",
}
REMEDY: Mapping[Reason, str] = {
    Reason.NO_SAME_SOURCE_PAIR: (
        "no source gave both an answer to choose and one to reject (with one answer a source none can), and "
        "selection.pair_policy=same_source pairs answers of one source only; selection.pair_policy=cross_source or all "
        "lets different sources meet"
    ),
    Reason.TIE: "their best and worst answer have one reward or one text; a column of rewards would rank them",
    Reason.MARGIN_OUTSIDE_WINDOW: (
        "their margins lie outside the window, which is on ArmoRM's scale; for another reward type e.g. "
        "selection.rules.instruction.window.scale=quantile"
    ),
}
"""What to type where pairs were lost to a choice that can be made otherwise."""
IN_QUANTILES = "the answer to choose ranks no higher than the one to reject, or their margin lies outside the window"
"""Instead, of a window that is given as quantiles already."""


WORDS = {
    "empty": "empty",
    "truncated": "truncated",
    "duplicate": "repeat another of their source",
    "unranked": "without the ranking reward",
}
"""How reasons of unused answers read in a sentence."""


def notes(lost: Mapping[str, int], is_same_source: bool, is_on_values: bool) -> list[str]:
    """A line for each such reason: `702 prompts make no pair: ...`.

    Args:
        lost: reason -> number of prompts, as the accounts of the pairs have them.
        is_same_source: whether any rule pairs answers of one source only.
        is_on_values: whether any rule has a window on the reward's own scale.
    """
    said = dict(REMEDY)
    if not is_on_values:
        said[Reason.MARGIN_OUTSIDE_WINDOW] = IN_QUANTILES
    if not is_same_source:
        del said[Reason.NO_SAME_SOURCE_PAIR]
    return [f"{lost[reason]:,} prompts make no pair: {text}" for reason, text in said.items() if lost.get(reason)]


def unused_line(counts: Mapping[str, int]) -> str:
    """One line of `fusion.selection.unused`'s counts, the sources added up; empty: every answer was of use.

    Example: unused_line({"truncated/gemma": 3, "truncated/qwen": 1}) == "answers: 4 truncated (gemma 3, qwen 1)"
    """
    by_reason: dict[str, list[tuple[str, int]]] = {}
    for key, number in counts.items():
        reason, _, source = key.partition("/")
        if source:
            by_reason.setdefault(reason, []).append((source, number))
    parts = []
    for reason, found in by_reason.items():
        most = sorted(found, key=lambda one: -one[1])
        named = ", ".join(f"{source} {number:,}" for source, number in most[:3]) + (", ..." if len(most) > 3 else "")
        parts.append(f"{sum(number for _, number in found):,} {WORDS.get(reason, f'failed by {reason}')} ({named})")
    return f"answers: {'; '.join(parts)}" if parts else ""
