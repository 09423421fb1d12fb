"""Benchmarks on answers that real models gave: our scores against those that were published or recomputed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fusion.evaluation.stored_run import evaluated, labelled, scores
from tests.shared_data import shared_data


@pytest.fixture(scope="module")
def gsm8k(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, object]]:
    answers = shared_data("math/gsm8k_multi_source.jsonl.gz")
    folder = tmp_path_factory.mktemp("gsm8k")
    return folder, answers, evaluated(folder, "benchmark=[gsm8k]", f"benchmarks.gsm8k.outputs.path={answers}")


def test_gsm8k_of_eleven_models_is_what_is_known_of_these_answers(gsm8k) -> None:
    """The labels are an exact match of the answer field, recomputed over all 1,319 rows within 0.1 points of what the
    authors published where answers parse (gemma-2-2b-it and Yi-1.5-34B-Chat wrote malformed JSON more often). Of all
    12,309 answers two are judged otherwise, one each way (docs/agreement.md): one of 1,119 is allowed."""
    _, answers, result = gsm8k
    found, known = scores(result, "gsm8k"), labelled(answers, "is_correct")
    assert len(known) == 11
    assert found.keys() == known.keys()
    for model, accuracy in known.items():
        assert found[model]["printed"]["value"] == pytest.approx(accuracy, abs=100 / 1119 + 1e-6), model


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
