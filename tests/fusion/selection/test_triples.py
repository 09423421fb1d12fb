"""WRPO's triples: whose answers they are, what the margin is, and why a prompt has none."""

from __future__ import annotations

import polars as pl

from fusion.selection.base import Selection, Split, Window, WindowScale
from fusion.selection.best_worst_per_source import BestWorstPerSource
from fusion.selection.correct_vs_wrong import CorrectVsWrong
from fusion.selection.triples import SelectedTriples, select_triples

ANY_MARGIN = Window(low=0.0, high=1.0, scale=WindowScale.QUANTILE)
RULE = BestWorstPerSource(rank_by="rm", window=ANY_MARGIN)


def answer(prompt: str, source: str, index: int, value: float, text: str = "", **other: object) -> dict[str, object]:
    """One row of the frame; texts differ unless one is given."""
    text = text or f"{source} {index}"
    row = {
        "prompt_id": prompt, "dataset": "d", "domain": "math", "source": source, "source_order": int(source != "a"),
        "sample_index": index, "finish_reason": "stop", "length": len(text), "folded": hash(text),
        "outcome:rm": "not_applicable", "value:rm": value, "outcome:v": "pass",
    }  # fmt: skip
    return row | other


def selected(
    sources: list[dict[str, object]], target: list[dict[str, object]], rule: Selection = RULE
) -> SelectedTriples:
    prompts = pl.DataFrame({"prompt_id": ["p", "q"], "dataset": ["d", "d"], "domain": ["math", "math"]}, orient="col")
    return select_triples(pl.DataFrame(sources), pl.DataFrame(target), prompts, rule)


def reasons(found: SelectedTriples) -> dict[str, str]:
    return dict(zip(found.drops["prompt_id"], found.drops["reason"], strict=True))


SOURCES = [answer("p", "a", 0, 0.2), answer("p", "b", 1, 0.9), answer("q", "a", 0, 0.5)]
TARGET = [answer("p", "t", 0, 0.3), answer("p", "t", 1, 0.6), answer("p", "t", 2, 0.1), answer("q", "t", 0, 0.4)]


def test_a_triple_is_the_best_of_all_sources_and_the_best_and_worst_of_the_target() -> None:
    (row,) = selected(SOURCES, [*TARGET, answer("q", "t", 1, 0.4, text="t 0")]).triples.to_dicts()
    assert {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()} == {
        "prompt_id": "p",
        "source_chosen_source": "b",
        "source_chosen_index": 1,
        "target_chosen_index": 1,
        "rejected_index": 2,
        "margin": 0.5,
        "source_margin": 0.3,
    }


def test_a_source_that_is_worse_than_the_target_stays_and_says_so() -> None:
    found = selected([answer("p", "a", 0, 0.2)], TARGET).triples
    assert round(found["source_margin"][0], 4) == -0.4


def test_equal_answers_of_the_target_are_a_tie_and_one_answer_alone_is_no_pair() -> None:
    equal = [answer("q", "t", 0, 0.4, text="same"), answer("q", "t", 1, 0.2, text="same")]
    assert reasons(selected(SOURCES, [*TARGET[:3], *equal])) == {"q": "tie"}
    assert reasons(selected(SOURCES, TARGET)) == {"q": "no_same_source_pair"}


def test_a_prompt_that_no_source_or_not_the_target_answered_is_dropped_with_the_reason() -> None:
    own = [*TARGET, answer("q", "t", 1, 0.1)]
    assert reasons(selected(SOURCES[:2], own)) == {"q": "no_response"}
    assert reasons(selected(SOURCES, TARGET[:3])) == {"q": "no_response"}


def test_a_window_is_on_the_targets_own_margin() -> None:
    rule = BestWorstPerSource(rank_by="rm", window=Window(low=0.01, high=0.4))
    assert reasons(selected(SOURCES, [*TARGET, answer("q", "t", 1, 0.1)], rule)) == {"p": "margin_outside_window"}


def test_with_a_verifier_both_chosen_pass_and_the_rejected_fails() -> None:
    rule = CorrectVsWrong(rank_by="rm", correct_by=["v"], window=ANY_MARGIN, split=Split())
    sources = [answer("p", "a", 0, 0.2), answer("p", "b", 1, 0.9, **{"outcome:v": "fail"}), answer("q", "a", 0, 0.5)]
    target = [
        answer("p", "t", 0, 0.3),
        answer("p", "t", 1, 0.1, **{"outcome:v": "fail"}),
        answer("p", "t", 2, 0.05, **{"outcome:v": "error"}),  # neither right nor wrong
        answer("q", "t", 0, 0.4),
    ]
    found = selected(sources, target, rule)
    (row,) = found.triples.to_dicts()
    assert (row["source_chosen_source"], row["target_chosen_index"], row["rejected_index"]) == ("a", 0, 1)
    assert reasons(found) == {"q": "no_failing_response"}


def test_the_order_of_the_rows_changes_nothing() -> None:
    own = [*TARGET, answer("q", "t", 1, 0.1)]
    plain, moved = selected(SOURCES, own), selected(SOURCES[::-1], own[::-1])
    assert plain.triples.equals(moved.triples)
