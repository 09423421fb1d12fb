"""A new thing is one file: it is added to a copy of the tree and used by name, in a run wherever that can be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.pico import EXPERIMENT, make_workspace, write_prompts

ROOT = Path(__file__).resolve().parents[1]

REWARD = '''
"""Prefers short answers."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.schema import Outcome
from fusion.step import Placement


@dataclass(kw_only=True)
class Brevity(Reward):
    scale: float = 1.0

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        yield self

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [Score(Outcome.NOT_APPLICABLE, -self.scale * len(c.text)) for c in candidates]
'''
SELECTION = '''
"""Only short answers may win."""
from dataclasses import dataclass

import polars as pl

from fusion.selection.base import Selection


@dataclass(kw_only=True)
class ShortWins(Selection):
    most: int = 8

    def chosen(self) -> pl.Expr:
        return pl.col("length") <= self.most

    def rejected(self) -> pl.Expr:
        return pl.lit(value=True)
'''
OBJECTIVE = '''
"""Hinge on the difference of implicit rewards."""
from dataclasses import dataclass

from fusion.objectives.base import Loss, Objective, RoleLogProbs


@dataclass(kw_only=True)
class Hinge(Objective):
    margin: float = 1.0

    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        assert reference is not None
        reward_RB = policy.logprob_sum_RB - reference.logprob_sum_RB
        return Loss((self.margin - (reward_RB[0] - reward_RB[1])).clamp(min=0), {})
'''
GENERATOR = '''
"""Says the number of tokens it was asked with."""
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fusion.generators.base import Completion, Engine, Generator, Request, Sample
from fusion.step import Placement


class Counting:
    max_model_len = 256

    def __init__(self) -> None:
        self.waiting: list[Request] = []

    def submit(self, request: Request) -> None:
        self.waiting.append(request)

    def step(self) -> list[Completion]:
        request = self.waiting.pop(0)
        text = f"{len(request.prompt_token_ids)} tokens"
        samples = tuple(Sample(i, text + "!" * i, 2 + i, "stop", None) for i in request.sample_indices)
        return [Completion(request.request_id, samples)]

    @property
    def num_unfinished(self) -> int:
        return len(self.waiting)


@dataclass(kw_only=True)
class Count(Generator):
    @contextmanager
    def open(self, model: Path, placement: Placement) -> Iterator[Engine]:
        yield Counting()
'''

PROMPTS = '''
"""Squares."""
from collections.abc import Iterator
from dataclasses import dataclass

from fusion.prompts.base import Prompts, RawPrompt


@dataclass(kw_only=True)
class Squares(Prompts):
    most: int = 3

    def read(self) -> Iterator[RawPrompt]:
        for i in range(self.most):
            message = {"role": "user", "content": f"{i} squared?"}
            yield RawPrompt(f"squares#{i}", (message,), "math", "squares", str(i * i))
'''
MERGE = '''
"""The mean of two."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from fusion.merging.base import MergeMethod, Rule, Weights


@dataclass(kw_only=True)
class Half(MergeMethod):
    needs_base: ClassVar[bool] = False
    min_models: ClassVar[int] = 2
    max_models: ClassVar[int] = 2
    mergekit: ClassVar = {"half": {}}

    def rule(self, tensors: Sequence[Weights]) -> Rule:
        return lambda chunk: chunk.models_Kn.sum(dim=0) / 2
'''
BENCHMARK = """
# @package benchmarks.mine
defaults:
  - /reward@reward: math_answer
  - _self_
title: Mine
area: math
data:
  name: org/mine
  path: {folder}/sums.jsonl
  num_items: 4
  item: "{{{{ prompt }}}}"
  question: "{{{{ prompt }}}}"
  reference: "{{{{ reference }}}}"
sampling: {{temperature: 0.0, top_p: 1.0, num_samples: 1, max_new_tokens: 4}}
""".lstrip()
RECIPE = (
    EXPERIMENT.replace("override /target: pico_target", "override /target: student")
    .replace("override /prompts: jsonl", "override /prompts: squares")
    .replace("override /objective: ln_dpo", "override /objective: hinge")
    .replace("name: pico", "name: mine\nobjective: {{margin: 2.0}}")
    .replace("prompts: {{path: {folder}/train.jsonl}}", "prompts: {{most: 12}}", 1)
    .replace("{generator}", "transformers")
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("pico"), 6)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what ships."""
    for folder in ("fusion", "actors", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def environment(tree: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(tree), "COLUMNS": "200"}


def fusion(tree: Path, workspace: Path, verb: str, *overrides: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fusion", verb, "--config-dir", str(workspace / "conf"), *overrides],
        cwd=tree, env=environment(tree), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_generator_a_reward_and_a_rule_are_one_file_each(tree: Path, workspace: Path) -> None:
    """All three in one in-process run up to the training data, read from the run's own tables."""
    (tree / "fusion/generators/count.py").write_text(GENERATOR)
    (tree / "fusion/rewards/brevity.py").write_text(REWARD)
    (tree / "fusion/selection/short_wins.py").write_text(SELECTION)
    code = (
        "import sys\nfrom fusion.config import composed, typed\nfrom fusion.pipeline import build\n"
        "from fusion.runner import Runner\nfrom fusion.runtime import InProcess\n"
        "from fusion.console import Terminal\nfrom rich.console import Console\n"
        "config = typed(composed(sys.argv[2:], sys.argv[1]))\nrecipe = build(config)\n"
        "made = Runner(config.store.path, InProcess, config.cluster.capacity, Terminal(Console(quiet=True)))\n"
        "pairs = made.run([recipe.steps['pairs/train']]).artifact(recipe.steps['pairs/train']).read()\n"
        "print(sorted(set(zip(pairs['chosen'].to_pylist(), pairs['rejected'].to_pylist()))), pairs['rule'][0])"
    )
    overrides = [
        "experiment=pico", "cluster=in_process", "generator=count", "reward=[math_answer,likelihood,brevity]",
        "selection=short_wins", "selection.most=9", "selection.rank_by=brevity", "selection.split.sft_frac=0",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(workspace / "conf"), *overrides],
        cwd=tree, env=environment(tree), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tokens', '" in done.stdout
    assert "tokens!!')" in done.stdout
    assert "short_wins" in done.stdout


def test_an_objective_is_a_function_of_numbers(tree: Path) -> None:
    (tree / "fusion/objectives/hinge.py").write_text(OBJECTIVE)
    code = (
        "import torch\nfrom fusion.registry import plugins\nfrom fusion.objectives.base import RoleLogProbs\n"
        "make = lambda *v: RoleLogProbs(torch.tensor([[v[0]], [v[1]]]), torch.ones(2, 1))\n"
        "loss = plugins('objective')['hinge'](margin=2.0).loss(make(-1.0, -3.0), make(-2.0, -2.0), 0.0)\n"
        "print(loss.per_example_B.item())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree, env=environment(tree), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) == 0.0


@pytest.mark.slow
def test_a_source_a_target_a_prompt_set_an_objective_and_a_recipe_are_one_file_each(
    tree: Path, workspace: Path
) -> None:
    """All five in one run, from prompts to a gate."""
    model = f"model:\n  uri: {workspace}/models/{{}}\n  chat: {{{{stop: [a, e, i, o, u, t, n, s]}}}}\n"
    sampling = "sampling: {temperature: 1.0, top_p: 1.0, max_new_tokens: 12, num_samples: 3}\n"
    (tree / "conf/source/newcomer.yaml").write_text(f"# @package sources.newcomer\n{model.format('pico_a')}{sampling}")
    (tree / "conf/target/student.yaml").write_text(f"name: student\n{model.format('pico_target')}")
    (tree / "fusion/prompts/squares.py").write_text(PROMPTS)
    (tree / "fusion/objectives/hinge.py").write_text(OBJECTIVE)
    (tree / "conf/experiment/mine.yaml").write_text(RECIPE.format(folder=workspace))
    said = fusion(tree, workspace, "run", "experiment=mine", "source=[newcomer,pico_b]", "cluster=in_process")
    result = json.loads((tree / "runs/mine/result.json").read_text())
    made = {f"{step['kind']}/{step['label']}": step for step in result["steps"]}
    assert made["prompts/train"]["rows_out"] == 12
    assert made["responses/newcomer"]["rows_out"] == 12 * 3
    assert made["checkpoint/final"]["rows_out"] > 0
    assert set(result["evaluation"]) == {"base", "sft", "final", "newcomer", "pico_b"}
    assert "the final model" in said


@pytest.mark.slow
def test_a_merge_method_is_one_file(tree: Path, workspace: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    (tree / "fusion/merging/half.py").write_text(MERGE)
    models = [workspace / "models" / name for name in ("pico_a", "pico_b")]
    (tmp_path / "half.yml").write_text(
        "merge_method: half\ndtype: float32\nmodels:\n" + "".join(f"  - model: {model}\n" for model in models)
    )
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "merge", str(tmp_path / "half.yml"), str(tmp_path / "merged")],
        cwd=tree, env=environment(tree), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    merged, first, second = (load_file(folder / "model.safetensors") for folder in (tmp_path / "merged", *models))
    assert all(merged[name].equal((first[name] + second[name]) / 2) for name in first)


@pytest.mark.slow
def test_a_benchmark_is_one_yaml(tree: Path, workspace: Path, tmp_path: Path) -> None:
    write_prompts(tmp_path / "sums.jsonl", 4)
    (tree / "conf/benchmark/mine.yaml").write_text(BENCHMARK.format(folder=tmp_path))
    fusion(
        tree, workspace, "eval", "benchmark=[mine]", "target=pico_target", "generator=transformers",
        "cluster=in_process",
    )  # fmt: skip
    scores = json.loads((tree / "runs/eval/result.json").read_text())["benchmarks"]["scores"]
    assert [(row["benchmark"], row["model"], row["n"]) for row in scores] == [("mine", "base", 4)]


def test_two_plugins_in_one_file_are_refused(tree: Path) -> None:
    (tree / "fusion/rewards/brevity.py").write_text(REWARD + REWARD.replace("class Brevity", "class Brevity2"))
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "plan", "experiment=quickstart"],
        cwd=tree, env=environment(tree), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "defines Brevity, Brevity2; a plug-in file defines one" in done.stderr
