"""A whole run of models with 29,000 weights: the same command, config and code as a real one, in seconds.

The generator is the batch-invariant one (transformers, fp32, one sequence at a time), so that two runs can be compared
byte for byte.
"""

from __future__ import annotations

import json
import os
import signal
import string
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.tiny import make_pico_llama

SOURCES = ("pico_a", "pico_b")


def make_workspace(folder: Path, num_prompts: int = 24, generator: str = "transformers", hidden: int = 32) -> Path:
    """Models, prompts and yaml files of a pico experiment; returns `folder`. vLLM wants models of `hidden` 64."""
    for seed, name in enumerate((*SOURCES, "pico_target")):
        make_pico_llama(folder / "models" / name, seed=seed, hidden=hidden)
    write_prompts(folder / "train.jsonl", num_prompts)
    write_prompts(folder / "held_out.jsonl", 8, start=1000)
    conf = folder / "conf"
    for name in SOURCES:
        _write(conf / "source" / f"{name}.yaml", f"# @package sources.{name}\n{_model(folder, name)}{SAMPLING}")
    _write(conf / "target" / "pico_target.yaml", f"name: pico_target\n{_model(folder, 'pico_target')}")
    _write(conf / "experiment" / "pico.yaml", EXPERIMENT.format(folder=folder, generator=generator))
    return folder


def write_prompts(path: Path, count: int, start: int = 0) -> None:
    rows = [
        {"prompt": f"What is {i} plus {i + 1}?", "reference": str(2 * i + 1), "domain": ("odd", "even")[i % 2]}
        for i in range(start, start + count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def command(workspace: Path, *overrides: str, verb: str = "run") -> list[str]:
    return [
        sys.executable, "-m", "fusion", verb, "--config-dir", str(workspace / "conf"), "experiment=pico", *overrides
    ]  # fmt: skip


def fusion(
    workspace: Path, *overrides: str, verb: str = "run", timeout: float = 400
) -> subprocess.CompletedProcess[str]:
    """Run the command line in the workspace and wait for it."""
    return subprocess.run(
        command(workspace, *overrides, verb=verb), cwd=workspace, env=environment(), capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip


def hear_ctrl_c() -> None:
    """Run in a child before it starts: what was started in the background inherits that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": root, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def result(workspace: Path, name: str = "pico") -> dict[str, object]:
    return dict(json.loads((workspace / "runs" / name / "result.json").read_text()))


def rows(workspace: Path, table: str, name: str = "pico") -> list[dict[str, object]]:
    """Every row under runs/<name>/data/<table>, sorted by all of its text."""
    folder = workspace / "runs" / name / "data" / table
    files = sorted(path for path in folder.rglob("*.parquet")) or sorted(folder.glob("*/*.parquet"))
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    return sorted(found, key=lambda row: json.dumps(row, sort_keys=True))


def count(workspace: Path, table: str, **conditions: str) -> int:
    kept = rows(workspace, table)
    return sum(all(row[key] == value for key, value in conditions.items()) for row in kept)


def table_of(found: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(found)


def is_unique(found: list[dict[str, object]], *key: str) -> bool:
    grouped = table_of(found).group_by(list(key)).aggregate([([], "count_all")])
    return bool(pc.all(pc.equal(grouped["count_all"], 1)).as_py())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _model(folder: Path, name: str) -> str:
    """A random model hardly ever ends its turn; stopping at letters ends about seven answers of ten in time."""
    return f"model:\n  uri: {folder / 'models' / name}\n  chat: {{stop: [{', '.join(string.ascii_lowercase)}]}}\n"


EXACT = ("generator=transformers", "generator.dtype=float32", "generator.batch_size=1")
"""Overrides of a run whose every byte can be compared: each answer is computed alone, whatever else is asked."""

FINE = (
    "++cluster.pools.responses.part_rows=2", "++cluster.pools.logprobs.part_rows=2",
    "train.sft.execution.save_every_steps=1", "train.preference.execution.save_every_steps=1",
)  # fmt: skip
"""Small parts and frequent checkpoints: many moments at which a run can be disturbed."""

SAMPLING = """\
sampling: {temperature: 1.0, top_p: 1.0, max_new_tokens: 12, num_samples: 3}
"""

EXPERIMENT = """\
# @package _global_
defaults:
  - override /source: [pico_a, pico_b]
  - override /target: pico_target
  - override /prompts: jsonl
  - override /prompts@evaluation.prompts: jsonl
  - override /generator: {generator}
  - override /reward: [math_answer, likelihood]
  - override /selection: best_worst_per_source
  - override /objective: ln_dpo
name: pico
prompts: {{path: {folder}/train.jsonl}}
rewards:
  likelihood: {{model: {{uri: {folder}/models/pico_b}}}}
selection:
  rank_by: likelihood
  truncated_rejected: true
  window: {{low: 0.0, high: 100.0}}
  split: {{sft_frac: 0.5}}
evaluation:
  prompts: {{path: {folder}/held_out.jsonl}}
  reward: math_answer
  sampling: {{max_new_tokens: 8}}
train:
  sft: {{epochs: 1, global_batch_size: 4, max_length: 128}}
  preference: {{epochs: 1, global_batch_size: 4, max_length: 128}}
"""
