"""A new thing is one file: each test adds exactly one to a copy of the tree and uses it by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.pico import make_workspace

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


def test_an_objective_is_one_file(tree: Path, workspace: Path) -> None:
    (tree / "fusion/objectives/hinge.py").write_text(OBJECTIVE)
    assert "margin: 2" in fusion(
        tree, workspace, "run", "--cfg", "job", "experiment=pico", "objective=hinge", "objective.margin=2"
    )
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


def test_a_source_and_a_target_are_one_yaml_each(tree: Path, workspace: Path) -> None:
    model = f"model:\n  uri: {workspace / 'models' / 'pico_a'}\n"
    (tree / "conf/source/newcomer.yaml").write_text(f"# @package sources.newcomer\n{model}")
    (tree / "conf/target/student.yaml").write_text(f"name: student\n{model}")
    out = fusion(tree, workspace, "plan", "experiment=pico", "source=[pico_a,newcomer]", "target=student")
    assert "responses/newcomer" in out


def test_a_recipe_is_one_yaml(tree: Path, workspace: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - pico\n  - override /objective: dpo\nname: mine\n"
    (workspace / "conf/experiment/mine.yaml").write_text(text)
    assert "checkpoint/final" in fusion(tree, workspace, "plan", "experiment=mine")


def test_a_prompt_set_is_one_file(tree: Path, workspace: Path) -> None:
    (tree / "fusion/prompts/squares.py").write_text(
        '"""Squares."""\nfrom collections.abc import Iterator\nfrom dataclasses import dataclass\n\n'
        "from fusion.prompts.base import Prompts, RawPrompt\n\n\n@dataclass(kw_only=True)\nclass Squares(Prompts):\n"
        "    most: int = 3\n\n    def read(self) -> Iterator[RawPrompt]:\n        for i in range(self.most):\n"
        "            message = {'role': 'user', 'content': f'{i} squared?'}\n"
        "            yield RawPrompt(f'squares#{i}', (message,), 'math', 'squares', str(i * i))\n"
    )
    out = fusion(tree, workspace, "run", "--cfg", "job", "prompts=squares", "prompts.most=5")
    assert "most: 5" in out


def test_two_plugins_in_one_file_are_refused(tree: Path) -> None:
    (tree / "fusion/rewards/brevity.py").write_text(REWARD + REWARD.replace("class Brevity", "class Brevity2"))
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "plan", "experiment=quickstart"],
        cwd=tree, env=environment(tree), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "defines Brevity, Brevity2; a plug-in file defines one" in done.stderr
