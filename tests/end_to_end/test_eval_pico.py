"""`fusion eval` with an engine: a new benchmark is one yaml, several models, the gate, and a second run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.pico import environment, write_prompts
from tests.tiny import make_pico_llama

BENCHMARK = """\
# @package benchmarks.sums
defaults:
  - /reward@reward: math_answer
  - _self_
title: Sums
area: math
data:
  name: org/sums
  path: {folder}/sums.jsonl
  num_items: 12
  item: "{{{{ prompt }}}}"
  question: "{{{{ prompt }}}}"
  reference: "{{{{ reference }}}}"
  group: "{{{{ domain }}}}"
sampling: {{temperature: 0.0, top_p: 1.0, num_samples: 1, max_new_tokens: 4}}
published_in: nobody
published: {{base: 12.5}}
"""
AGAIN = """\
# @package benchmarks.sums_again
defaults: [sums@_here_, _self_]
compared: false
"""
TARGET = "name: pico\nmodel: {{uri: {folder}/pico}}\n"


def evaluate(
    workspace: Path, *overrides: str, verb: str = "eval", benchmarks: str = "sums"
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "fusion", verb, "--config-dir", "conf", "experiment=eval",
        f"benchmark=[{benchmarks}]", "target=pico", "generator=transformers", "cluster=in_process", *overrides,
    ]  # fmt: skip
    return subprocess.run(
        command, cwd=workspace, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eval")
    for seed, name in enumerate(("pico", "final")):
        make_pico_llama(folder / name, seed=seed)
    write_prompts(folder / "sums.jsonl", 12)
    for path, text in (("benchmark/sums", BENCHMARK), ("benchmark/sums_again", AGAIN), ("target/pico", TARGET)):
        file = folder / "conf" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(folder=folder))
    return folder


@pytest.fixture(scope="module")
def first(workspace: Path) -> subprocess.CompletedProcess[str]:
    done = evaluate(workspace, "models=[final]")
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def result(workspace: Path) -> dict[str, object]:
    return json.loads((workspace / "runs" / "eval" / "result.json").read_text())


def test_every_item_is_asked_of_every_model(first: object, workspace: Path) -> None:
    found = result(workspace)["benchmarks"]["scores"]  # type: ignore[index]
    assert [(row["model"], row["n"], row["num_items"]) for row in found] == [("base", 12, 12), ("final", 12, 12)]
    assert found[0]["published"] == 12.5


def test_a_final_model_that_gained_nothing_is_not_promoted(first: subprocess.CompletedProcess[str], workspace: Path):
    gate: dict[str, object] = result(workspace)["gate"]  # type: ignore[assignment]
    assert gate["promoted"] is False
    assert "not surely above 0.00" in str(gate["reasons"])


def test_the_gate_knows_the_areas_of_benchmarks(first: object, workspace: Path) -> None:
    assert evaluate(workspace, "models=[final]", "gate.max_regression_in={math: 0.1}").returncode == 0
    refused = evaluate(workspace, "models=[final]", "gate.max_regression_in={code: 0.1}")
    assert refused.returncode == 2
    assert "gate.max_regression_in names 'code', which is not measured; did you mean math?" in refused.stderr


def test_a_second_protocol_of_a_benchmark_is_not_weighed_by_the_gate(first: object, workspace: Path) -> None:
    assert evaluate(workspace, "name=again", "models=[final]", benchmarks="sums,sums_again").returncode == 0
    found = json.loads((workspace / "runs" / "again" / "result.json").read_text())
    assert {row["benchmark"] for row in found["benchmarks"]["scores"]} == {"sums", "sums_again"}
    assert found["gate"]["reasons"][-1] == "none of 1 domains is lost"


def test_unknown_content_of_the_data_is_noticed(first: subprocess.CompletedProcess[str], workspace: Path) -> None:
    assert "12 items of a content that is not known" in (workspace / "runs" / "eval" / "benchmarks.md").read_text()


def test_the_report_shows_dots_and_published_rings(first: object, workspace: Path) -> None:
    page = (workspace / "runs" / "eval" / "report.html").read_text()
    assert 'id="benchmarks"' in page
    assert 'class="ring"' in page
    assert "base, published: 12.5" in page


def test_a_second_run_does_no_work(first: object, workspace: Path) -> None:
    again = evaluate(workspace, "models=[final]")
    assert again.returncode == 0
    assert {step["status"] for step in result(workspace)["steps"]} == {"HIT"}  # type: ignore[attr-defined]


def test_a_plan_names_every_step(first: object, workspace: Path) -> None:
    planned = evaluate(workspace, verb="plan").stdout
    for step in ("prompts/sums", "responses/sums-base", "rewards/sums-base-sums", "benchmark/scores"):
        assert step in planned


def test_an_unknown_benchmark_is_refused_with_the_closest(workspace: Path) -> None:
    done = evaluate(workspace, "benchmark=[gms8k]")
    assert done.returncode == 2
    assert "gsm8k" in done.stderr
