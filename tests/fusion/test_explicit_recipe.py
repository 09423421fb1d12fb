"""Explicit fusion from texts to trained models, in this process, with pico models of two tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from fusion.artifact import Artifact
from fusion.config import composed, typed
from fusion.console import Terminal
from fusion.errors import EngineError, StepFailed
from fusion.pipeline import build
from fusion.plan import Status
from fusion.recipe import Recipe
from fusion.results import conclude
from fusion.runner import Outcome, Runner
from fusion.runtime import Done, InProcess, Tasks, WorkerSpec
from fusion.stages.distributions import DumpTask
from fusion.step import Placement
from tests.fusion.explicit.pico import make_pico_bpe
from tests.tiny import make_pico_llama

Run = Callable[..., tuple[Recipe, Outcome]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The target, and two sources of longer tokens."""
    from pydoc_data.topics import topics

    folder = tmp_path_factory.mktemp("models")
    texts = [text[:2000] for text in topics.values()]
    target = make_pico_llama(folder / "pico")
    return target, make_pico_bpe(folder / "bpe", texts), make_pico_bpe(folder / "short", texts, seed=2, vocab=300)


@pytest.fixture
def run(models: tuple[Path, Path, Path], tmp_path: Path) -> Run:
    target, source, second = models

    def go(*overrides: str, runtime: InProcess | None = None) -> tuple[Recipe, Outcome]:
        tree = composed(
            [
                "experiment=explicit_cpu",
                f"store.path={tmp_path}/store",
                f"runs={tmp_path}/runs",
                f"target.model.uri={target}",
                "target.model.revision=''",
                "target.model.shape=null",
                f"sources.gemma3_270m.model.uri={source}",
                "sources.gemma3_270m.model.revision=''",
                "sources.gemma3_270m.model.shape=null",
                "sources.gemma3_270m.model.chat.template=null",
                "prompts.limit=12",
                "prompts.max_chars=400",
                "explicit.texts.block_tokens=90",
                "explicit.train.max_length=128",
                "explicit.train.learning_rate=1e-3",
                "cluster.pools.distributions.part_rows=4",
                *(one.format(second=second) for one in overrides),
            ]
        )
        recipe = build(typed(tree))
        config = recipe.config
        terminal = Terminal(Console(quiet=True))
        runner = Runner(config.store.path, lambda: runtime or InProcess(), config.cluster.capacity, terminal)
        outcome = runner.run(recipe.targets)
        (tmp_path / "runs" / config.name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / config.name / "config.yaml").write_text("name: explicit_cpu\n")
        conclude(recipe, outcome, tmp_path / "runs" / config.name, Console(quiet=True))
        return recipe, outcome

    return go


def table(recipe: Recipe, outcome: Outcome, name: str) -> Artifact:
    artifact = outcome.artifact(recipe.steps[name])
    assert isinstance(artifact, Artifact)
    return artifact


@pytest.mark.slow
def test_many_into_one_from_texts_to_losses_on_unseen_ones(run: Run) -> None:
    recipe, outcome = run()
    targets = table(recipe, outcome, "targets/all")
    accounts = targets.accounts
    assert accounts.rows_out > 20
    assert accounts.rows_in == table(recipe, outcome, "texts/train").accounts.rows_out
    learnt = set(table(recipe, outcome, "texts/train").read()["response"].to_pylist())
    unseen = set(table(recipe, outcome, "texts/evaluation").read()["response"].to_pylist())
    assert unseen
    assert not learnt & unseen
    rows = {
        row["model"]: row
        for row in table(recipe, outcome, "text_losses/scores").read(["bits_per_byte", "n", "difference"]).to_pylist()
    }
    assert set(rows) == {"base", "final", "plain", "gemma3_270m"}
    assert rows["plain"]["difference"] is None
    assert rows["plain"]["bits_per_byte"] < rows["base"]["bits_per_byte"]
    _, again = run()
    assert {one.status for one in again.planned} == {Status.HIT}
    # Another way of fusing leaves what the models said untouched.
    _, other = run("explicit.fuse.rule=avg_ce")
    fresh = {one.step.name for one in other.planned if one.status is not Status.HIT}
    trained = ("final", "plain")
    again_made = {f"checkpoint/{role}" for role in trained} | {f"distributions/evaluation-{role}" for role in trained}
    assert fresh == again_made | {"targets/all", "text_losses/scores"}


SECOND = (
    "source=[gemma3_270m,smollm2_135m]", "sources.smollm2_135m.model.uri={second}",
    "sources.smollm2_135m.model.revision=''", "sources.smollm2_135m.model.shape=null",
)  # fmt: skip


@pytest.mark.slow
def test_of_two_sources_each_is_asked_and_the_best_reader_wins(run: Run) -> None:
    """All are random; by byte, the model of the longest tokens has the least to pay for a text."""
    recipe, outcome = run(*SECOND, "target.name=target", "explicit.fuse.per=byte", "explicit.texts.held_out_frac=0")
    names = {"target", "gemma3_270m", "smollm2_135m"}
    steps = {"targets/all"} | {f"distributions/{name}" for name in names}
    assert steps | {"link_counts/target-gemma3_270m", "link_counts/target-smollm2_135m"} <= recipe.steps.keys()
    targets = table(recipe, outcome, "targets/all")
    assert targets.accounts.rows_out > 20
    winners = targets.read(["winner"])["winner"].to_pylist()
    assert set(winners) == {"gemma3_270m"}
    other, average = run(*SECOND, "target.name=target", "explicit.fuse.rule=avg_ce", "explicit.texts.held_out_frac=0")
    assert set(table(other, average, "targets/all").read(["winner"])["winner"].to_pylist()) == {None}


@pytest.mark.slow
def test_pairs_have_a_model_each(run: Run) -> None:
    recipe, outcome = run("recipe=fusechat", "explicit.texts.held_out_frac=0")
    assert "checkpoint/pair-gemma3_270m" in recipe.steps
    assert table(recipe, outcome, "targets/gemma3_270m").accounts.rows_out > 20


def test_what_sft_learns_is_learnt_with_distributions_and_without_then_merged() -> None:
    """The rows are those of the quickstart, so that both can be compared."""
    store = "store.path=/nowhere/store"
    quick = build(typed(composed(["experiment=quickstart", store])))
    pairwise = build(typed(composed(["experiment=pairwise_sce_cpu", store])))
    same = ("prompts/train", "sft/train", "responses/evaluation-base", "rewards/evaluation-base-answer")
    assert [pairwise.steps[name].fingerprint for name in same] == [quick.steps[name].fingerprint for name in same]
    merged = pairwise.steps["checkpoint/final"]
    pivot, learnt = (pairwise.steps[f"checkpoint/pair-{name}"] for name in ("pivot", "gemma3_270m"))
    assert merged.inputs == {"model:gemma3_270m": learnt, "model:smollm2_135m": pivot}
    assert pivot.inputs == learnt.inputs
    assert pivot.inputs["texts"] is pairwise.steps["sft/train"]
    assert pairwise.steps["responses/evaluation-final"].inputs["model"] is merged


class Dying(InProcess):
    """Notes which texts a model is asked to read, and goes away when more than `most` were."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.texts: list[str] = []

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        return super().map(worker, Watched(tasks, self), placement, name)


@dataclass(frozen=True)
class Watched:
    tasks: Tasks
    runtime: Dying

    def __iter__(self) -> Iterator[object]:
        for task in self.tasks:
            if isinstance(task, DumpTask):
                if len(self.runtime.texts) + len(task.wanted) > self.runtime.most:
                    raise EngineError("gone")
                self.runtime.texts.extend(task.wanted)
            yield task

    def remaining(self, task: object) -> object | None:
        return self.tasks.remaining(task)


def test_a_run_that_dies_keeps_what_it_computed(run: Run) -> None:
    dying, living = Dying(most=8), Dying(most=10**6)
    with pytest.raises(StepFailed, match="gone"):
        run("cluster.capacity.cpus=1", runtime=dying)
    run("cluster.capacity.cpus=1", runtime=living)
    read = set(dying.texts)
    assert len(read) == 8
    assert sum(text in read for text in living.texts) == 8  # by the other model; by the first not again
