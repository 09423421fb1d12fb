"""A run from the command line on a real local Ray, and what it leaves: whole, accounted for, and not done twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.pico import SOURCES, environment, fusion, is_unique, make_workspace, result, rows, write_prompts

pytestmark = pytest.mark.slow
NUM_PROMPTS, NUM_SAMPLES = 24, 3


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("e2e"), NUM_PROMPTS)


@pytest.fixture(scope="module")
def first(workspace: Path) -> subprocess.CompletedProcess[str]:
    done = fusion(workspace)
    log = workspace / "runs" / "pico" / "log.txt"
    assert done.returncode == 0, done.stdout + done.stderr + log.read_text()[-4000:]
    return done


def test_rows_in_are_rows_out_dropped_and_failed(first: object, workspace: Path) -> None:
    steps: list[dict[str, object]] = result(workspace)["steps"]  # type: ignore[assignment]
    assert {step["kind"] for step in steps} >= {
        "prompts",
        "responses",
        "rewards",
        "sft",
        "pairs",
        "logprobs",
        "checkpoint",
    }
    for step in steps:
        lost = sum(step["dropped"].values()) + sum(step["failed"].values())  # type: ignore[attr-defined]
        assert step["rows_in"] == step["rows_out"] + lost, step  # type: ignore[operator]


def test_every_source_answers_every_prompt_n_times(first: object, workspace: Path) -> None:
    responses = rows(workspace, "responses")
    assert len(responses) == len(SOURCES) * NUM_PROMPTS * NUM_SAMPLES
    assert is_unique(responses, "prompt_id", "source", "sample_index")
    assert is_unique(responses, "prompt_id", "source", "seed")


def test_pairs_are_of_one_source_and_no_prompt_trains_twice(first: object, workspace: Path) -> None:
    sft, pairs = rows(workspace, "sft"), rows(workspace, "pairs")
    assert sft
    assert pairs
    assert all(pair["chosen_source"] == pair["rejected_source"] for pair in pairs)
    assert all(pair["chosen"] != pair["rejected"] for pair in pairs)
    assert not {row["prompt_id"] for row in sft} & {row["prompt_id"] for row in pairs}


def test_an_evaluation_stands_in_the_result(first: object, workspace: Path) -> None:
    evaluation: dict[str, dict[str, dict[str, float]]] = result(workspace)["evaluation"]  # type: ignore[assignment]
    assert {"base", "sft", "final", *SOURCES} <= set(evaluation)
    overall = evaluation["final"]["overall"]
    assert 0 <= overall["low"] <= overall["score"] <= overall["high"] <= 1
    assert overall["n"] == 8


def test_the_models_load_in_transformers(first: object, workspace: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for role in ("sft", "final"):
        folder = workspace / "runs" / "pico" / "models" / role
        assert AutoModelForCausalLM.from_pretrained(folder).num_parameters() > 0
        assert AutoTokenizer.from_pretrained(folder).chat_template


def test_report_config_and_log_are_there(first: object, workspace: Path) -> None:
    run = workspace / "runs" / "pico"
    assert "pico_a" in (run / "report.html").read_text()
    assert "global_batch_size: 4" in (run / "config.yaml").read_text()
    assert (run / "log.txt").stat().st_size > 0


def test_the_terminal_shows_steps_and_nothing_else(first: subprocess.CompletedProcess[str], workspace: Path) -> None:
    assert first.stderr == ""
    for word in ("done   responses/pico_a", "report ", "result "):
        assert word in first.stdout
    for noise in ("(pid=", "WARNING", "[rank", "Loading weights", "raylet"):
        assert noise not in first.stdout


def test_second_run_does_no_work_and_says_so(first: object, workspace: Path) -> None:
    again = fusion(workspace)
    assert again.returncode == 0
    steps: list[dict[str, object]] = result(workspace)["steps"]  # type: ignore[assignment]
    assert {step["status"] for step in steps} == {"HIT"}
    assert again.stdout.count("HIT ") == len(steps)
    assert "done " not in again.stdout


def test_what_is_sealed_needs_no_room(first: object, workspace: Path) -> None:
    """A source whose answers are there need not fit on the cluster at hand: plan and run say the same."""
    sizes = ("cluster.capacity.gpus=1", "cluster.pools.responses.gpus=1", "planning.gpu.memory_gib=1")
    for verb in ("plan", "run"):
        again = fusion(workspace, *sizes, verb=verb)
        assert again.returncode == 0, verb + again.stdout + again.stderr
    other = fusion(workspace, *sizes, "seed=2", verb="run")
    assert other.returncode == 2
    assert "pico_a" in other.stderr


def test_a_changed_objective_redoes_the_last_training_only(first: object, workspace: Path) -> None:
    lines = fusion(workspace, "objective.beta=8", verb="plan").stdout.splitlines()
    fresh = [line.split()[0] for line in lines if " NEW " in line]
    assert fresh == [
        "checkpoint/final",
        "responses/evaluation-final",
        "rewards/evaluation-final-math_answer",
        "evaluation/scores",
        "comparison/scores",
    ]
    assert any("objective.beta" in line for line in lines)


def test_more_prompts_reuse_old_answers_and_scores(first: object, workspace: Path) -> None:
    before = {(r["prompt_id"], r["source"], r["sample_index"]): r["text"] for r in rows(workspace, "responses")}
    write_prompts(workspace / "more.jsonl", NUM_PROMPTS + 6)
    grown = ("name=grown", f"prompts.path={workspace}/more.jsonl")
    assert fusion(workspace, *grown, verb="plan").stdout.count("REUSE") >= 4
    done = fusion(workspace, *grown)
    assert done.returncode == 0, done.stdout + done.stderr
    after = {(r["prompt_id"], r["source"], r["sample_index"]): r["text"] for r in rows(workspace, "responses", "grown")}
    assert len(after) == len(SOURCES) * (NUM_PROMPTS + 6) * NUM_SAMPLES
    assert all(after[key] == text for key, text in before.items())
    steps: list[dict[str, object]] = result(workspace, "grown")["steps"]  # type: ignore[assignment]
    made = {f"{s['kind']}/{s['label']}": s for s in steps}
    for source in SOURCES:
        assert made[f"responses/{source}"]["totals"]["num_requests"] == 6 * NUM_SAMPLES  # type: ignore[index]
        assert made[f"rewards/{source}-likelihood"]["rows_reused"] == NUM_PROMPTS * NUM_SAMPLES


def test_show_explain_diff_and_report_read_the_run(first: object, workspace: Path) -> None:
    def call(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "fusion", *arguments],
            cwd=workspace, env=environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    listed = [
        json.loads(line)
        for line in call("show", "pico", "pairs", "--where", "chosen_source=pico_a", "--json").splitlines()
    ]
    assert len(listed) == sum(pair["chosen_source"] == "pico_a" for pair in rows(workspace, "pairs"))
    key = str(rows(workspace, "pairs")[0]["prompt_id"])
    story = call("explain", "pico", key[:10])
    assert "beats" in story
    assert "likelihood: -" in story
    assert "temperature 1.0" in story
    assert "settings: the same" in call("diff", "pico", "pico")
    (workspace / "runs" / "pico" / "report.html").unlink()
    assert call("report", "pico").strip().endswith("report.html")
    assert (workspace / "runs" / "pico" / "report.html").exists()


def test_experiments_that_are_compared_end_in_one_table(first: object, workspace: Path) -> None:
    experiments = workspace / "conf" / "experiment"
    (experiments / "steep.yaml").write_text(
        "# @package _global_\ndefaults: [pico]\nname: steep\nobjective: {beta: 8}\n"
    )
    (experiments / "both.yaml").write_text(
        "# @package _global_\ndefaults: [pico]\nname: both\ncompare: [pico, steep]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "run", "--config-dir", str(workspace / "conf"), "experiment=both"],
        cwd=workspace, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2  steep" in done.stdout
    assert not (workspace / "runs" / "both").exists()
    told = done.stdout.rpartition("Mean over domains")[2]
    shown = {" ".join(line.split()[:2]): line for line in told.splitlines() if "[" in line or line.startswith("pico")}
    # One SFT model led to both, and stands there once.
    assert {"pico sft", "pico final", "steep final"} <= set(shown)
    assert "steep sft" not in shown
    for run in ("pico", "steep"):
        overall = result(workspace, run)["evaluation"]["final"]["overall"]  # type: ignore[index]
        assert f"{overall['score']:.2f} [{overall['low']:.2f}, {overall['high']:.2f}]" in shown[f"{run} final"]
        gain = result(workspace, run)["gain"]
        assert f"{abs(gain['difference']):.2f}" in shown[f"{run} final"]  # type: ignore[index]
    again = subprocess.run(
        [sys.executable, "-m", "fusion", "compare", "pico", "steep", "--markdown"],
        cwd=workspace, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "| steep final |" in again.stdout
    # Other prompts to evaluate on: scores cannot be paired.
    write_prompts(workspace / "other.jsonl", 4, start=2000)
    other = fusion(workspace, "name=other", f"evaluation.prompts.path={workspace}/other.jsonl")
    assert other.returncode == 0, other.stdout + other.stderr
    refused = subprocess.run(
        [sys.executable, "-m", "fusion", "compare", "pico", "other"],
        cwd=workspace, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "no common evaluation prompts" in refused.stderr


def test_the_better_of_the_last_two_checkpoints_is_taken_and_said(first: object, workspace: Path) -> None:
    done = fusion(workspace, "name=choice", "train.preference.choice={every_steps: 1, of_last: 2}")
    assert done.returncode == 0, done.stdout + done.stderr
    made = {f"{step['kind']}/{step['label']}": step for step in result(workspace, "choice")["steps"]}  # type: ignore[attr-defined]
    assert made["checkpoint/sft"]["status"] == "HIT"
    assert "of the last checkpoints step " in done.stdout
    models = workspace / "runs" / "choice" / "models"
    weights = {
        role: (models / role / "model.safetensors").read_bytes() for role in ("final", "candidate1", "candidate2")
    }
    assert weights["candidate1"] != weights["candidate2"]
    assert weights["final"] in (weights["candidate1"], weights["candidate2"])
