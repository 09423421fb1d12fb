"""`fusion eval` on tasks of lm-evaluation-harness: a model that runs here, and samples that the library logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fusion.cli import main
from fusion.prompts.harness_task import library
from tests.harness_tasks import item, make_tasks
from tests.tiny import make_pico_llama

GROUP = """\
# @package benchmarks.toys
defaults: [harness@_here_, _self_]
data: {{task: {{name: toy_group, include_path: {folder}/tasks}}}}
sampling: {{max_new_tokens: 4}}
"""
CHOICES = """\
# @package benchmarks.choices
defaults: [harness@_here_, _self_]
data: {{task: {{name: toy_choices, include_path: {folder}/tasks}}}}
dtype: float32
"""
TARGET = "name: pico\nmodel: {{uri: {folder}/pico}}\n"
NUM_RIGHT = 6


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harness")
    (folder / "tasks").mkdir()
    make_tasks(folder / "tasks")
    make_pico_llama(folder / "pico", seed=0)
    for path, text in (("benchmark/toys", GROUP), ("benchmark/choices", CHOICES), ("target/pico", TARGET)):
        file = folder / "conf" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(folder=folder))
    rows = [
        {"doc_id": i, "doc": item(i), "resps": [[f"The answer is {2 * i + 1 if i < NUM_RIGHT else 0}.\n\nQ:"]]}
        for i in range(8)
    ]
    (folder / "samples_toy_sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    numbers = [["-1.5", "False"], ["-2.5", "False"], ["-9.0", "False"]]
    rows = [
        {"doc_id": i, "doc": item(i), "resps": [[one] for one in (numbers if i < NUM_RIGHT else numbers[::-1])]}
        for i in range(8)
    ]
    (folder / "samples_toy_choice.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def evaluated(folder: Path, *arguments: str) -> Any:
    """result.json."""
    places = [
        f"store.path={folder / 'store'}",
        f"runs={folder / 'runs'}",
        "cluster=in_process",
        "generator=transformers",
    ]
    with pytest.raises(SystemExit) as end:
        main(["eval", "--config-dir", str(folder / "conf"), *places, *arguments])
    assert end.value.code == 0
    return json.loads((folder / "runs" / "eval" / "result.json").read_text())


def test_a_model_and_the_library_s_own_log_stand_in_one_table(workspace: Path) -> None:
    named = ["benchmark=[harness]", "target=pico", "benchmarks.harness.data.task.name=toy_sums"]
    named += [f"benchmarks.harness.data.task.include_path={workspace / 'tasks'}"]
    named += [f"benchmarks.harness.outputs.path={workspace}/samples_toy_sums.jsonl"]
    named += ["benchmarks.harness.outputs.source=logged"]
    result = evaluated(workspace, *named)
    rows = {row["model"]: row for row in result["benchmarks"]["scores"]}
    assert rows.keys() == {"base", "logged"}
    assert (rows["logged"]["score"], rows["logged"]["n"]) == (NUM_RIGHT / 8, 8)
    assert (rows["base"]["n"], rows["base"]["undecided"]) == (8, 0)
    assert rows["logged"]["low"] < NUM_RIGHT / 8 < rows["logged"]["high"]
    again = evaluated(workspace, *named)
    assert {step["status"] for step in again["steps"]} == {"HIT"}


def test_continuations_are_compared_beside_what_is_answered_in_words(workspace: Path) -> None:
    named = ["benchmark=[toys,choices]", "target=pico"]
    result = evaluated(workspace, *named)
    rows = {row["benchmark"]: row for row in result["benchmarks"]["scores"]}
    assert {name: (row["n"], row["undecided"]) for name, row in rows.items()} == {"toys": (16, 0), "choices": (16, 0)}
    expected = library_score(workspace)
    assert rows["choices"]["score"] == pytest.approx(expected)
    assert 0 < expected < 1
    again = evaluated(workspace, *named)
    assert {step["status"] for step in again["steps"]} == {"HIT"}


def test_a_base_model_reads_plain_text_and_needs_no_chat_template(workspace: Path) -> None:
    base = make_pico_llama(workspace / "plain", seed=0, chat_template=None)
    result = evaluated(workspace, "benchmark=[choices]", "target=pico", f"models=[{base}]")
    first, second = result["benchmarks"]["scores"]
    assert {first["model"], second["model"]} == {"base", "plain"}
    assert first["score"] == second["score"], "the same weights, and the template is no part of plain text"
    places = ["eval", "--config-dir", str(workspace / "conf"), "cluster=in_process", f"models=[{base}]"]
    with pytest.raises(SystemExit) as end:
        main([*places, "benchmark=[choices]", "benchmarks.choices.data.chat=true"])
    assert end.value.code == 2


def test_a_model_behind_an_endpoint_has_no_weights_to_read_with(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = [
        "generator=openai_endpoint",
        "generator.endpoint.url=http://127.0.0.1:9/v1",
        "generator.endpoint.model=m",
    ]
    with pytest.raises(SystemExit) as end:
        main(["eval", "--config-dir", str(workspace / "conf"), "benchmark=[choices]", "target=pico", *endpoint])
    assert end.value.code == 2
    assert "pico is behind an endpoint" in " ".join(capsys.readouterr().err.split())


def library_score(folder: Path) -> float:
    """What the library's own evaluation says of the same model: acc over all questions of the group."""
    evaluator, huggingface = library("evaluator"), library("models.huggingface")
    manager = library("tasks").TaskManager(include_path=str(folder / "tasks"), include_defaults=False)
    reader = huggingface.HFLM(pretrained=str(folder / "pico"), device="cpu", dtype="float32")
    result = evaluator.simple_evaluate(reader, tasks=["toy_choices"], task_manager=manager, bootstrap_iters=0)
    right = [sample["acc"] for samples in result["samples"].values() for sample in samples]
    return float(sum(right) / len(right))


def test_the_library_s_own_log_of_compared_continuations_is_read(workspace: Path) -> None:
    named = ["benchmark=[harness]", "benchmarks.harness.data.task.name=toy_choice"]
    named += [f"benchmarks.harness.data.task.include_path={workspace / 'tasks'}"]
    named += [f"benchmarks.harness.outputs.path={workspace}/samples_toy_choice.jsonl"]
    (row,) = evaluated(workspace, *named, "benchmarks.harness.outputs.source=logged")["benchmarks"]["scores"]
    assert (row["model"], row["score"], row["n"]) == ("logged", NUM_RIGHT / 8, 8)


def test_a_group_is_a_yaml_of_three_lines(workspace: Path) -> None:
    result = evaluated(workspace, "benchmark=[toys]", "target=pico")
    (row,) = result["benchmarks"]["scores"]
    assert (row["benchmark"], row["n"], row["num_items"]) == ("toys", 16, 16)
