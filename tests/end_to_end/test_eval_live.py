"""A real model on small samples of every benchmark whose data is at hand, killed in the middle and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.pico import environment
from tests.shared_data import ROOT, shared_data

pytestmark = pytest.mark.slow
BENCHMARKS = (
    "gsm8k", "svamp", "math500", "amc23", "aime24", "minerva", "cmath", "gaokao2023en", "gaokao_cloze", "gaokao_choice",
    "mmlu", "mmlu_pro", "mmlu_redux", "gpqa_diamond", "humaneval", "mbpp", "leetcode_contest", "cruxeval", "ifeval",
)  # fmt: skip
LIMIT = 3


def command() -> list[str]:
    few = ("max_new_tokens=48", "num_samples=1")
    chosen = [f"benchmarks.{name}.sampling.{setting}" for name in BENCHMARKS for setting in few]
    return [
        sys.executable, "-m", "fusion", "eval", f"benchmark=[{','.join(BENCHMARKS)}]", "target=smollm2_135m",
        f"data={ROOT}", f"limit={LIMIT}", "generator.max_model_len=2048", "store.path=store", *chosen,
    ]  # fmt: skip


def parts(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.glob("store/responses/*/parts/*.parquet")}


def test_a_killed_evaluation_resumes_and_keeps_what_was_answered(tmp_path: Path) -> None:
    shared_data("math/gsm8k_test.jsonl")
    run = subprocess.Popen(
        command(), cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 400
    while len(parts(tmp_path)) < 2:
        assert run.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline, "no answers were committed"
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    before = parts(tmp_path)
    done = subprocess.run(
        command(), cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert before.items() <= parts(tmp_path).items()
    result = json.loads((tmp_path / "runs" / "eval" / "result.json").read_text())
    scores = {row["benchmark"]: row for row in result["benchmarks"]["scores"]}
    assert scores.keys() == set(BENCHMARKS)
    for name, row in scores.items():
        assert (row["model"], row["n"], row["num_samples"]) == ("base", LIMIT, LIMIT), name
    tables = [pq.read_table(path, columns=["prompt_id", "source", "sample_index"]) for path in parts(tmp_path)]
    keys = [tuple(row.values()) for table in tables for row in table.to_pylist()]
    assert len(keys) == len(set(keys)) == LIMIT * len(BENCHMARKS)
    assert any(step["status"] in ("HIT", "RESUME") for step in result["steps"])
