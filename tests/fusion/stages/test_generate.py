"""Generation as a stage, with a random model and the transformers engine, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from fusion.artifact import Artifact, PartFolder, Receipt
from fusion.errors import ConfigError, StepFailed
from fusion.generators.base import Sampling
from fusion.generators.transformers import Transformers
from fusion.models import ChatConfig, ModelRef, resolve
from fusion.runtime import Done, InProcess, Tasks, WorkerSpec
from fusion.schema import PROMPT, RESPONSE, prompt_id, sample_seed
from fusion.stages import generate
from fusion.stages.generate_tasks import Asked, GenerateTasks
from fusion.step import Placement, Step
from fusion.work import Work
from fusion.writer import ArtifactWriter
from tests.tiny import make_pico_llama

SAMPLING = Sampling(temperature=1.0, max_new_tokens=6, num_samples=2, num_samples_by_domain={"math": 3})
PARTICULAR = (
    "{% for m in messages %}{% if 'bad' in m['content'] %}{{ raise_exception('no') }}{% endif %}"
    "{{ m['content'] }}{% endfor %}"
)
"""A template that refuses some messages."""
QUESTIONS = [f"What is {i} + {i}?" for i in range(8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    ref = ModelRef(uri=str(make_pico_llama(tmp_path_factory.mktemp("pico"))))
    resolve(ref)
    return ref


@pytest.fixture
def config(model: ModelRef) -> generate.GenerateConfig:
    return generate.GenerateConfig(
        source="pico", model=model, chat=ChatConfig(), sampling=SAMPLING, generator=Transformers(batch_size=1)
    )


class HaltError(Exception):
    """What ends a run in the middle."""


class Interrupting(InProcess):
    """Dies after `parts` receipts; those after it are committed but not told of."""

    def __init__(self, parts: int) -> None:
        self._parts = parts

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        for count, done in enumerate(super().map(worker, tasks, placement, name)):
            if count == self._parts:
                raise HaltError
            yield done


def prompt_table(folder: Path, questions: list[str], part_rows: int = 3) -> Artifact:
    """Sealed prompts in parts; every second one of domain math."""
    writer = ArtifactWriter(str(folder), PROMPT)
    rows = []
    for number, text in enumerate(questions):
        messages = [{"role": "user", "content": text}]
        domain = "math" if number % 2 else "code"
        rows.append(
            {
                "prompt_id": prompt_id(messages, None),
                "messages": messages,
                "domain": domain,
                "dataset": "t",
                "reference": None,
            }
        )
    writer.expect({str(row["prompt_id"]) for row in rows})
    for start in range(0, len(rows), part_rows):
        writer.accept(Receipt(writer.folder.write(PROMPT.build(rows[start : start + part_rows]))))
    return writer.seal({})


def make(
    folder: Path,
    prompts: Artifact,
    config: generate.GenerateConfig,
    runtime: InProcess | None = None,
    placement: Placement | None = None,
    siblings: list[str] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Artifact:
    step = Step(
        kind="responses", label="pico", run=generate.run, config=config, produces=RESPONSE, row_local=True,
        placement=placement or Placement(part_rows=2, in_flight=3),
    )  # fmt: skip
    writer = ArtifactWriter(str(folder), RESPONSE, siblings)
    generate.run([Work(step, {"prompts": prompts}, writer, progress, lambda: False)], runtime or InProcess())
    return writer.seal({})


def num_requests(artifact: Artifact) -> int:
    totals = artifact.manifest["totals"]
    assert isinstance(totals, dict)
    return int(totals.get("num_requests", 0))


def test_every_prompt_gets_its_domains_number_of_samples(tmp_path: Path, config: generate.GenerateConfig) -> None:
    prompts = prompt_table(tmp_path / "p", QUESTIONS)
    rows = make(tmp_path / "r", prompts, config).read().to_pylist()
    domains = {row["prompt_id"]: row["domain"] for row in prompts.read().to_pylist()}
    counts = {prompt: sum(row["prompt_id"] == prompt for row in rows) for prompt in domains}
    assert counts == {prompt: 3 if domain == "math" else 2 for prompt, domain in domains.items()}


def test_the_seed_column_tells_the_seed_that_was_used(tmp_path: Path, config: generate.GenerateConfig) -> None:
    for row in make(tmp_path / "r", prompt_table(tmp_path / "p", QUESTIONS), config).read().to_pylist():
        assert row["seed"] == sample_seed(42, row["prompt_id"], "pico", row["sample_index"])


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_a_resumed_run_asks_only_for_what_is_missing(
    tmp_path: Path, config: generate.GenerateConfig, parts: int
) -> None:
    """Requests of the second run = rows that no part held; all rows equal those of an undisturbed run."""
    prompts = prompt_table(tmp_path / "p", QUESTIONS)
    with pytest.raises(HaltError):
        make(tmp_path / "r", prompts, config, Interrupting(parts))
    kept = committed(tmp_path / "r")
    resumed = make(tmp_path / "r", prompts, config)
    assert num_requests(resumed) == 20 - kept
    assert kept >= parts * 4
    assert resumed.read().equals(make(tmp_path / "whole", prompts, config).read())


def test_a_finished_run_asks_for_nothing(tmp_path: Path, config: generate.GenerateConfig) -> None:
    """Nor does it open the model, which is gone."""
    prompts = prompt_table(tmp_path / "p", QUESTIONS)
    make(tmp_path / "r", prompts, config)
    gone = ModelRef(uri="/nowhere", revision="0" * 64)
    config.model = gone
    assert num_requests(make(tmp_path / "r", prompts, config)) == 0


def test_added_prompts_take_over_the_rows_of_a_sibling(tmp_path: Path, config: generate.GenerateConfig) -> None:
    first = make(tmp_path / "r", prompt_table(tmp_path / "p", QUESTIONS[:6]), config)
    more = make(tmp_path / "s", prompt_table(tmp_path / "q", QUESTIONS), config, siblings=[first.path])
    assert (num_requests(more), more.manifest["rows_reused"]) == (5, 15)


@pytest.mark.parametrize("placement", [Placement(part_rows=1, in_flight=1), Placement(part_rows=8, in_flight=8)])
def test_how_work_is_cut_does_not_change_a_row(
    tmp_path: Path, config: generate.GenerateConfig, placement: Placement
) -> None:
    prompts = prompt_table(tmp_path / "p", QUESTIONS)
    other = make(tmp_path / "s", prompts, config, placement=placement)
    assert other.read().equals(make(tmp_path / "r", prompts, config).read())


def test_a_prompt_over_the_context_is_dropped_with_its_reason(tmp_path: Path, config: generate.GenerateConfig) -> None:
    made = make(tmp_path / "r", prompt_table(tmp_path / "p", ["short", "x" * 300]), config)
    assert made.accounts.rows_in == 5
    assert made.accounts.dropped == {"prompt_too_long": 3}
    assert "context is 256" in made.drops().to_pylist()[0]["detail"]


def test_messages_that_the_template_refuses_fail_alone(tmp_path: Path, config: generate.GenerateConfig) -> None:
    config.chat, config.max_failed_frac = ChatConfig(template=PARTICULAR), 0.6
    made = make(tmp_path / "r", prompt_table(tmp_path / "p", ["good", "bad"]), config)
    assert made.accounts.failed == {"request_failed": 3}
    assert made.accounts.rows_out == 2


def test_too_many_failures_fail_the_step_and_only_they_are_asked_again(
    tmp_path: Path, config: generate.GenerateConfig
) -> None:
    """A source whose every request failed was sealed with no rows."""
    config.chat = ChatConfig(template=PARTICULAR)
    prompts = prompt_table(tmp_path / "p", [*QUESTIONS, "a bad one", "another bad one"])
    told = "source pico failed on 5 of 25 answers, more than max_failed_frac=0.05; .*type max_failed_frac=0.2 "
    with pytest.raises(StepFailed, match=told):
        make(tmp_path / "r", prompts, config)
    assert committed(tmp_path / "r") == 20
    config.chat = ChatConfig(template=PARTICULAR.replace("bad", "none is"))
    assert num_requests(make(tmp_path / "r", prompts, config)) == 5


def test_a_source_that_fails_on_everything_is_given_up_early(tmp_path: Path, config: generate.GenerateConfig) -> None:
    config.chat = ChatConfig(template=PARTICULAR.replace("bad", "What"))
    with pytest.raises(StepFailed, match="failed on 50 of 50 answers"):
        make(tmp_path / "r", prompt_table(tmp_path / "p", [f"What is {i}?" for i in range(100)], 100), config)


def test_progress_counts_samples_from_what_is_there_to_all(tmp_path: Path, config: generate.GenerateConfig) -> None:
    prompts = prompt_table(tmp_path / "p", QUESTIONS)
    with pytest.raises(HaltError):
        make(tmp_path / "r", prompts, config, Interrupting(1))
    kept, seen = committed(tmp_path / "r"), []
    make(tmp_path / "r", prompts, config, progress=lambda done, total: seen.append((done, total)))
    assert (seen[0], seen[-1]) == ((kept, 20), (20, 20))


def test_steps_of_one_gang_share_one_engine(tmp_path: Path, config: generate.GenerateConfig) -> None:
    opened: list[str] = []

    class Counting(InProcess):
        def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
            opened.append(name)
            return super().map(worker, tasks, placement, name)

    works = []
    for name in ("train", "evaluation"):
        prompts = prompt_table(tmp_path / f"p{name}", [f"{name} {q}" for q in QUESTIONS])
        step = Step(kind="responses", label=name, run=generate.run, config=config, produces=RESPONSE)
        writer = ArtifactWriter(str(tmp_path / name), RESPONSE)
        works.append(Work(step, {"prompts": prompts}, writer, lambda done, total: None, lambda: False))
    generate.run(works, Counting())
    assert [work.rows_out.seal({}).accounts.rows_out for work in works] == [20, 20]
    assert len(opened) == 1


def test_what_a_dead_worker_committed_is_not_asked_again(tmp_path: Path, config: generate.GenerateConfig) -> None:
    prompts = prompt_table(tmp_path / "p", QUESTIONS)
    step = Step(kind="responses", label="a", run=generate.run, config=config, produces=RESPONSE)
    writer = ArtifactWriter(str(tmp_path / "r"), RESPONSE)
    work = Work(step, {"prompts": prompts}, writer, lambda d, t: None, lambda: False)
    tasks = GenerateTasks([work], Placement(part_rows=4))
    task = next(iter(tasks))
    assert isinstance(task, Asked)
    (first, _), *_ = task.samples
    row = {"prompt_id": first, "source": "pico", "sample_index": 0, "text": "a", "num_tokens": 1,
           "finish_reason": "stop", "seed": 1, "logprob_sum": None}  # fmt: skip
    PartFolder(str(tmp_path / "r"), RESPONSE).write(RESPONSE.build([row]))
    left = tasks.remaining(task)
    assert isinstance(left, Asked)
    assert left.samples == ((first, (1,)), *task.samples[1:])


def test_a_model_without_revision_is_refused(tmp_path: Path, config: generate.GenerateConfig) -> None:
    config.model = ModelRef(uri="/somewhere")
    with pytest.raises(ConfigError, match="no revision"):
        make(tmp_path / "r", prompt_table(tmp_path / "p", QUESTIONS), config)


def committed(folder: Path) -> int:
    """Rows in parts on disk, told of or not."""
    parts = PartFolder(str(folder), RESPONSE)
    tables = [parts.read(f"parts/{file.name}") for file in (folder / "parts").glob("*.parquet")]
    return pa.concat_tables(tables).num_rows if tables else 0
