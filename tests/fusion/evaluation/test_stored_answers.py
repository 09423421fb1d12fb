"""Benchmarks on answers that real models gave: our scores against those that were published or recomputed."""

from __future__ import annotations

import gzip
import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from fusion.config import composed, typed
from tests.fusion.evaluation.stored_run import evaluated, labelled, scores
from tests.shared_data import ROOT, shared_data

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
NO_ANSWER = {
    "Meta-Llama-3.1-70B-Instruct": 0.08,
    "Meta-Llama-3.1-8B-Instruct": 0.38,
    "gemma-2-2b-it": 0.38,
    "Mixtral-8x7B-Instruct-v0.1": 2.27,
    "Yi-1.5-34B-Chat": 0.08,
}
"""Percent of replies in which ZeroEval found no answer (its result_dirs/gsm.summary.md); of the others in none."""


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, object]]:
    answers = shared_data("math/gsm8k_multi_source.jsonl.gz")
    folder = tmp_path_factory.mktemp("gsm8k")
    return folder, answers, evaluated(folder, "benchmark=[gsm8k]", f"benchmarks.gsm8k.outputs.path={answers}")


def test_gsm8k_of_eleven_models_is_what_is_known_of_these_answers(gsm8k) -> None:
    """The labels are an exact match of the last number in the answer field. Of all 12,309 answers two are judged
    otherwise, one each way (docs/agreement.md): one of 1,119 is allowed."""
    _, answers, result = gsm8k
    found, known = scores(result, "gsm8k"), labelled(answers, "is_correct")
    assert len(known) == 11
    assert found.keys() == known.keys()
    for model, accuracy in known.items():
        assert found[model]["printed"]["value"] == pytest.approx(accuracy, abs=100 / 1119 + 1e-6), model


@pytest.fixture(scope="module")
def replies(gsm8k: tuple[Path, Path, dict[str, object]]) -> dict[str, list[dict[str, Any]]]:
    """Model -> its 1,119 replies, as ZeroEval parsed them."""
    found: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(gsm8k[1], "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            found.setdefault(row["source"], []).append(row)
    return found


def zero_eval_counts(row: dict[str, Any]) -> bool:
    """Whether the first number of the answer is the gold one; an answer that is a fraction is divided first."""
    answer = re.sub(r"[$,]", "", row["parsed"] or "").strip()
    if fraction := re.fullmatch(r"(\d+)/(\d+)", answer):
        return Fraction(*map(int, fraction.groups())) == Fraction(row["gold"])
    first = NUMBER.search(answer)
    return first is not None and Fraction(first[0]) == Fraction(row["gold"])


def published() -> dict[str, float]:
    """ZeroEval's accuracies on all 1,319 problems, in percent."""
    tree = composed(["experiment=eval", "benchmark=[gsm8k_json]", f"data={ROOT}", "cluster=in_process"])
    return typed(tree).benchmarks["gsm8k_json"].published


def test_gsm8k_is_within_three_tenths_of_a_point_of_what_the_authors_rule_counts(gsm8k, replies) -> None:
    """On the same replies, for nine of eleven models. The two others write a calculation as their answer ("20 + 10 + 10
    = 40") fifteen and more times, of which the rule takes the first number and we take the result."""
    found = scores(gsm8k[2], "gsm8k")
    gaps = {
        model: found[model]["printed"]["value"] - 100 * sum(map(zero_eval_counts, rows)) / len(rows)
        for model, rows in replies.items()
    }
    assert {model for model, gap in gaps.items() if abs(gap) > 0.3} == {"gemma-2-2b-it", "Yi-1.5-34B-Chat"}
    otherwise = {m: [row for row in rows if row["is_correct"] != zero_eval_counts(row)] for m, rows in replies.items()}
    assert all(len(NUMBER.findall(row["parsed"])) > 1 for rows in otherwise.values() for row in rows)
    counts = {model: len(rows) for model, rows in otherwise.items()}
    assert {model: count for model, count in counts.items() if count > 3} == {
        "gemma-2-2b-it": 15, "Yi-1.5-34B-Chat": 35,
    }  # fmt: skip


def test_gsm8k_of_five_models_is_within_three_tenths_of_a_point_of_what_was_published(gsm8k, replies) -> None:
    """Over the answers that parse. What keeps the others further off is told in docs/agreement.md: the 200 problems of
    1,319 that are not at hand, and Yi's calculations."""
    found, known = scores(gsm8k[2], "gsm8k"), published()
    gaps = {
        model: found[model]["printed"]["value"] / (sum(row["parsed"] is not None for row in rows) / len(rows))
        - known[model] / (1 - NO_ANSWER.get(model, 0.0) / 100)
        for model, rows in replies.items()
    }
    assert {model for model, gap in gaps.items() if abs(gap) <= 0.3} == {
        "Mistral-Large-2", "Qwen2-72B-Instruct", "Meta-Llama-3.1-70B-Instruct", "gemma-2-9b-it", "gemma-2-2b-it",
    }  # fmt: skip


def test_what_was_published_of_gsm8k_is_the_authors_rule_as_far_as_a_part_of_the_problems_can_tell(replies) -> None:
    """1,119 of 1,319 problems: drawing so many without putting back, an accuracy p on all shows on the part with a
    standard deviation of sqrt(p (1 - p) / 1119 * (1319 - 1119) / 1318), 0.24 to 0.58 points; bounds at 3.3 of these."""
    for model, accuracy in published().items():
        rows = replies[model]
        deviation = 100 * (accuracy / 100 * (1 - accuracy / 100) / len(rows) * (1319 - len(rows)) / 1318) ** 0.5
        counted = 100 * sum(map(zero_eval_counts, rows)) / len(rows)
        assert counted == pytest.approx(accuracy, abs=3.3 * deviation), model


def test_intervals_hold_the_score_and_have_the_width_of_so_many_items(gsm8k) -> None:
    for row in scores(gsm8k[2], "gsm8k").values():
        assert row["low"] < row["score"] < row["high"]
        share, n = row["score"], row["n"]
        assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * (share * (1 - share) / n) ** 0.5, rel=0.05)


def test_an_answer_that_states_nothing_is_counted_as_unparsed(gsm8k) -> None:
    rows = scores(gsm8k[2], "gsm8k")
    assert 10 <= rows["Mixtral-8x7B-Instruct-v0.1"]["unparsed"] <= 30
    assert rows["gemma-2-27b-it"]["unparsed"] == 0


def test_the_copy_of_the_data_is_recognised_by_content(gsm8k) -> None:
    row = scores(gsm8k[2], "gsm8k")["gemma-2-27b-it"]
    assert (row["num_items"], row["copy"]) == (1119, "1,119 of 1,319 items")


def test_a_second_run_does_no_work(gsm8k) -> None:
    folder, answers, _ = gsm8k
    again = evaluated(folder, "benchmark=[gsm8k]", f"benchmarks.gsm8k.outputs.path={answers}")
    assert {step["status"] for step in again["steps"]} == {"HIT"}


def test_tables_for_papers_are_there(gsm8k) -> None:
    run = gsm8k[0] / "runs" / "eval"
    text = (run / "benchmarks.md").read_text()
    assert "| Meta-Llama-3.1-70B-Instruct | 94." in text
    assert "GSM8K: 1,119 of 1,319 published items" in text
    assert "Meta-Llama-3.1-70B-Instruct & 94." in (run / "benchmarks.tex").read_text()
