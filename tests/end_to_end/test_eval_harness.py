"""`fusion eval` on tasks of lm-evaluation-harness: a model that runs here, and samples that the library logged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.cli import main
from tests.harness_tasks import item, make_tasks
from tests.tiny import make_pico_llama

GROUP = """\
# @package benchmarks.toys
defaults: [harness@_here_, _self_]
data: {{task: {{name: toy_group, include_path: {folder}/tasks}}}}
sampling: {{max_new_tokens: 4}}
"""
TARGET = "name: pico\nmodel: {{uri: {folder}/pico}}\n"
NUM_RIGHT = 6


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("harness")
    (folder / "tasks").mkdir()
    make_tasks(folder / "tasks")
    make_pico_llama(folder / "pico", seed=0)
    for path, text in (("benchmark/toys", GROUP), ("target/pico", TARGET)):
        file = folder / "conf" / f"{path}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(folder=folder))
    rows = [
        {"doc_id": i, "doc": item(i), "resps": [[f"The answer is {2 * i + 1 if i < NUM_RIGHT else 0}.\n\nQ:"]]}
        for i in range(8)
    ]
    (folder / "samples_toy_sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def evaluated(folder: Path, *arguments: str) -> dict[str, dict[str, object]]:
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
    return json.loads((folder / "runs" / "eval" / "result.json").read_text())  # type: ignore[no-any-return]


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
    assert {step["status"] for step in again["steps"]} == {"HIT"}  # type: ignore[index]


def test_a_group_is_a_yaml_of_three_lines(workspace: Path) -> None:
    result = evaluated(workspace, "benchmark=[toys]", "target=pico")
    (row,) = result["benchmarks"]["scores"]  # type: ignore[misc]
    assert (row["benchmark"], row["n"], row["num_items"]) == ("toys", 16, 16)
