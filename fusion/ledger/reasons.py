"""What each reason for a drop means, in a sentence."""

from __future__ import annotations

from fusion.schema import Reason

MEANING: dict[Reason, str] = {
    Reason.EMPTY_PROMPT: "nothing is asked",
    Reason.DUPLICATE_PROMPT: "an equal prompt is there already",
    Reason.NEAR_DUPLICATE_PROMPT: "a nearly equal prompt is there already, in this or in another data set",
    Reason.OVER_LIMIT: "it came after the limit on prompts was reached",
    Reason.EXCLUDED_DOMAIN: "its domain is excluded by a filter",
    Reason.OTHER_LANGUAGE: "it is in another language than the filter wants",
    Reason.PROMPT_TOO_SHORT: "it is shorter than the filter wants",
    Reason.NO_REFERENCE: "it has no gold answer, and the filter wants one",
    Reason.NO_TESTS: "it has no tests, and the filter wants some",
    Reason.IN_BENCHMARK: "it is (nearly) in a benchmark, so it must not be trained on",
    Reason.PROMPT_DROPPED: "its prompt was dropped before",
    Reason.PROMPT_TOO_LONG: "it leaves no room for an answer in the model's context",
    Reason.EMPTY_RESPONSE: "the answer is empty",
    Reason.REQUEST_FAILED: "the engine could not serve it",
    Reason.SCORER_FAILED: "the scorer broke on it",
    Reason.NO_RESPONSE: "no source gave a usable answer: there is none, all are empty, or none is scored",
    Reason.UNCLEAN: "every answer holds something that must not be trained on",
    Reason.NO_PASSING_RESPONSE: "no whole answer passes, so nothing may be chosen",
    Reason.NO_FAILING_RESPONSE: "no answer fails, so nothing may be rejected",
    Reason.NO_SAME_SOURCE_PAIR: "no source gave both an answer that may be chosen and one that may be rejected",
    Reason.MARGIN_OUTSIDE_WINDOW: "there are pairs, but none has a margin inside the window",
    Reason.TIE: "the best and the worst answer have the same reward or the same text",
    Reason.OTHER_PHASE: "it trains in the other phase; a prompt trains in one only",
    Reason.TRUNCATED: "every answer was cut off by the token limit",
    Reason.NOT_SPELLED: "the pieces of a tokenizer do not spell it",
    Reason.NO_DISTRIBUTION: "a model has no token distributions of it",
    Reason.NOT_FINITE: "a model gave no finite log-probability for it",
    Reason.OVER_LENGTH: "it is longer than training takes",
    Reason.DIFFERENCE_LOST: "after cutting to length, the chosen and the rejected answer no longer differ",
}
"""A test asks for every reason there is."""


def meaning(reason: str) -> str:
    """The sentence; a reason of a later version says its own name."""
    try:
        return MEANING[Reason(reason)]
    except (KeyError, ValueError):
        return reason.replace("_", " ")
