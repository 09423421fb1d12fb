"""Tasks of lm-evaluation-harness as items: what is asked, what bears identity, and what is refused by name."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from fusion.config import composed, typed
from fusion.errors import ConfigError
from fusion.evaluation.benchmark import Benchmark
from fusion.fingerprint import fingerprint
from fusion.generators.base import Sampling
from fusion.prompts.base import RawPrompt
from fusion.prompts.continuations import Context, pairs_of
from fusion.prompts.harness_task import HarnessTask
from tests.harness_tasks import make_tasks, write_items


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tasks(tmp_path_factory.mktemp("tasks"))


def benchmark(folder: Path, task: str, *overrides: str) -> Benchmark:
    """The template of conf/benchmark with a task of `folder`; overrides are below the benchmark."""
    own = [f"benchmarks.harness.{word}" for word in (f"data.task.include_path={folder}", *overrides)]
    words = [
        "experiment=eval",
        "benchmark=[harness]",
        "cluster=in_process",
        f"benchmarks.harness.data.task.name={task}",
    ]
    return typed(composed([*words, *own])).benchmarks["harness"]


def test_a_question_is_a_message_in_the_task_s_words(folder: Path) -> None:
    prompts = list(benchmark(folder, "toy_sums").data.read())
    assert len(prompts) == 8
    assert prompts[3].messages == ({"role": "user", "content": "Q: What is 3 plus 4?\nA:"},)
    assert (prompts[3].key, prompts[3].domain) == ("toy_sums/3", "toy_sums")
    assert json.loads(str(prompts[3].reference))["doc_id"] == 3


def test_examples_are_turns_and_the_description_is_the_system_message(folder: Path) -> None:
    first = next(benchmark(folder, "toy_shots").data.read())
    assert [message["role"] for message in first.messages] == ["system", *["user", "assistant"] * 2, "user"]
    assert first.messages[0]["content"] == "Add."
    for question, answer in (first.messages[1:3], first.messages[3:5]):
        number = int(question["content"].split()[3])
        assert answer["content"] == str(2 * number + 1)
        assert number != 0, "the question itself is no example"


def test_examples_may_stand_in_the_question(folder: Path) -> None:
    first = next(benchmark(folder, "toy_shots", "data.multiturn=false").data.read())
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert first.messages[1]["content"].count("Q: What is") == 3


def test_a_system_message_of_one_s_own_stands_before_the_description(folder: Path) -> None:
    first = next(benchmark(folder, "toy_shots", "data.system=Be_brief.").data.read())
    assert first.messages[0]["content"] == "Be_brief.\n\nAdd."


def test_reading_again_draws_the_same_examples(folder: Path) -> None:
    one, other = (benchmark(folder, "toy_shots").data for _ in range(2))
    assert list(one.read()) == list(other.read())
    assert list(one.read()) != list(benchmark(folder, "toy_shots", "data.task.fewshot_seed=7").data.read())


def test_the_number_of_examples_is_typed_where_the_task_leaves_it_open(folder: Path) -> None:
    asked = [
        len(next(benchmark(folder, "toy_free", *more).data.read()).messages)
        for more in ((), ("data.task.num_fewshot=3",))
    ]
    assert asked == [1, 7]
    with pytest.raises(ConfigError, match="toy_sums is asked without examples"):
        benchmark(folder, "toy_sums", "data.task.num_fewshot=3")


def test_the_task_says_how_models_are_sampled_and_what_is_typed_wins(folder: Path) -> None:
    own = Sampling(temperature=0.5, top_p=1.0, max_new_tokens=24, num_samples=1)
    assert benchmark(folder, "toy_sums").sampling == own
    greedy = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=48, num_samples=1)
    assert benchmark(folder, "toy_shots").sampling == greedy, "do_sample is false"
    typed_in = benchmark(folder, "toy_sums", "sampling.temperature=0.0", "sampling.num_samples=4").sampling
    assert typed_in == Sampling(temperature=0.0, top_p=1.0, max_new_tokens=24, num_samples=4)


def test_a_group_is_its_tasks(folder: Path) -> None:
    prompts = list(benchmark(folder, "toy_group", "data.limit=6").data.read())
    assert [prompt.domain for prompt in prompts] == ["toy_free"] * 8 + ["toy_sums"] * 8
    assert len({prompt.key for prompt in prompts}) == 16


def test_conditions_and_groups_see_the_question(folder: Path) -> None:
    data = benchmark(folder, "toy_sums", "data.where='doc.answer|int > 11'", "data.group='{{ doc.answer }}'").data
    assert [prompt.domain for prompt in data.read()] == ["13", "15"]


def given(prompt: RawPrompt) -> list[tuple[Context, str]]:
    assert prompt.reference is not None
    return pairs_of(prompt.reference)


def test_continuations_go_on_from_plain_text(folder: Path) -> None:
    prompts = list(benchmark(folder, "toy_choice").data.read())
    question = "Q: What is 3 plus 4?\nA:"
    assert given(prompts[3]) == [(question, " 7"), (question, " 12"), (question, " rather many")]
    assert prompts[3].messages == ({"role": "user", "content": question},)
    first = given(next(benchmark(folder, "toy_choice_shots").data.read()))[0][0]
    assert isinstance(first, str)
    assert first.startswith("Add.\n\nQ: What is")
    assert first.endswith("\n\nQ: What is 0 plus 1?\nA:")


def test_or_begin_the_answer_in_a_conversation(folder: Path) -> None:
    prompt = next(benchmark(folder, "toy_choice_shots", "data.chat=true").data.read())
    pairs = given(prompt)
    assert [continuation for _, continuation in pairs] == ["1", "12", "rather many"]
    context = pairs[0][0]
    assert not isinstance(context, str)
    assert [message["role"] for message in context] == ["system", *["user", "assistant"] * 2, "user"]
    assert list(prompt.messages) == context


def test_a_continuation_may_have_a_context_of_its_own_or_none(folder: Path) -> None:
    inputs = given(next(benchmark(folder, "toy_choice_inputs").data.read()))
    assert inputs == [("1", " is the sum"), ("12", " is the sum"), ("rather many", " is the sum")]
    alone = given(next(benchmark(folder, "toy_choice_alone").data.read()))
    assert alone == [("", "1"), ("", "12"), ("", "rather many")]
    assert given(next(benchmark(folder, "toy_word").data.read())) == [("Q: What is 0 plus 1?\nA:", " 1")]


def test_plain_text_may_begin_the_answer_and_a_conversation_may_not(folder: Path) -> None:
    context, continuation = given(next(benchmark(folder, "toy_choice_begun").data.read()))[0]
    assert (context, continuation) == ("Q: What is 0 plus 1?\nA: So it is", " 1")
    with pytest.raises(ConfigError, match=r"toy_choice_begun begins the answer.*leave data.chat out"):
        benchmark(folder, "toy_choice_begun", "data.chat=true")


def test_plain_text_and_conversation_are_two_recipes(folder: Path) -> None:
    found = {fingerprint(benchmark(folder, "toy_choice", *more).data) for more in ((), ("data.chat=true",))}
    assert len(found) == 2


def task_of(folder: Path, **settings: object) -> str:
    """What a task is to a recipe."""
    task = HarnessTask(include_path=str(folder), **{"name": "toy_python", **settings})  # type: ignore[arg-type]
    task.resolve()
    assert task.package_version.startswith("0.4")
    assert set(task.versions.values()) == {"2.0"}
    return fingerprint(task)


def test_a_task_is_its_files_and_its_data_and_not_where_they_lie(folder: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(folder, tmp_path / "moved")
    make_tasks(moved)
    known = task_of(folder)
    assert task_of(moved) == known

    def changed(name: str, old: str, new: str) -> str:
        other = make_tasks(shutil.copytree(folder, tmp_path / f"other_{name}"))
        text = (other / name).read_text()
        assert old in text
        (other / name).write_text(text.replace(old, new))
        return task_of(other)

    found = {
        changed("python.yaml", "closeness, agg", "closeness, weight: 2, agg"),
        changed("scoring.py", "1 / (1 + gap)", "1 / (2 + gap)"),
        changed("test.jsonl", "3 plus 4", "three plus four"),
    }
    assert len(found | {known}) == 4


def test_data_files_take_the_place_of_the_hub(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "test.jsonl"
    write_items(other, 3, start=50)
    files = [f"+benchmarks.harness.data.task.data_files.{split}={other}" for split in ("test", "train")]
    words = ["benchmark=[harness]", "cluster=in_process", "benchmarks.harness.data.task.name=toy_python"]
    chosen = typed(composed(["experiment=eval", *words, *files, f"benchmarks.harness.data.task.include_path={folder}"]))
    prompts = list(chosen.benchmarks["harness"].data.read())
    assert [prompt.messages[0]["content"] for prompt in prompts] == [
        f"Q: What is {i} plus {i + 1}?\nA:" for i in (50, 51, 52)
    ]
    same = {split: str(folder / f"{split}.jsonl") for split in ("test", "train")}
    assert task_of(folder, data_files=same) == task_of(folder)


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("toy_rolling", "output_type is loglikelihood_rolling.*did you mean toy_"),
        ("toy_mixed", "toy_sums in words, and toy_choice gives continuations to compare"),
        ("toy_repeats", "several answers"),
        ("toy_prefix", "begins the answer"),
        ("toy_unsafe", "without a sandbox"),
        ("toy_smus", "no task toy_smus; did you mean toy_sums"),
        ("toy_unlike", "decode differently"),
        ("toy_bleu", "no metric that can be used here"),
        ("careqa_open_perplexity", "did you mean careqa_open"),
        ("uncheatable_eval", "uncheatable_eval: task uncheatable_eval_.* cannot be asked here: its output_type is"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_by_name(folder: Path, task: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){reason}"):
        benchmark(folder, task)


def test_no_task_and_no_data_are_refused_with_what_to_type(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"benchmarks.harness.data.task.name"):
        benchmark(folder, "'???'")
    with pytest.raises(ConfigError, match="data_files"):
        benchmark(folder, "toy_sums", f"data.path={tmp_path}")
    files = {"test": str(folder / "test.jsonl")}
    with pytest.raises(ConfigError, match=r"toy_sums cannot be built: KeyError.*data_files.SPLIT=FILE"):
        HarnessTask(name="toy_sums", include_path=str(folder), data_files=files).resolve()
    with pytest.raises(ConfigError, match="is a group of tasks"):
        HarnessTask(name="toy_group", include_path=str(folder), data_files=files).resolve()


@pytest.mark.skipif(importlib.util.find_spec("lm_eval") is not None, reason="lm-eval is installed")
def test_without_the_library_a_benchmark_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pip install lm-eval==0\.4\.\d+"):
        benchmark(tmp_path, "gsm8k_cot_zeroshot")
