"""Settings that the README shows on the quickstart, on models of 29,000 weights: a sweep, trackers, more prompts."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from fusion.cli import main
from tests.end_to_end.pico import EXPERIMENT, SOURCES, make_workspace, result

pytestmark = pytest.mark.slow
BETAS = (5, 10, 20)
PROCEDURAL = EXPERIMENT.replace("override /prompts: jsonl", "override /prompts: easy_reasoning").replace(
    "prompts: {{path: {folder}/train.jsonl}}", "prompts: {{per_task: 2}}", 1
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_workspace(tmp_path_factory.mktemp("settings"), 8)
    (folder / "conf/experiment/procedural.yaml").write_text(
        PROCEDURAL.format(folder=folder, generator="transformers").replace("name: pico", "name: procedural")
    )
    return folder


def run(workspace: Path, *words: str) -> object:
    """Exit code of `fusion run` in this process: what is imported once serves all runs."""
    with contextlib.chdir(workspace), pytest.raises(SystemExit) as ended:
        main(["run", "--config-dir", str(workspace / "conf"), "cluster=in_process", *words])
    return ended.value.code


def test_a_sweep_over_beta_trains_three_times_and_ends_in_one_table(
    workspace: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(workspace, "experiment=pico", "-m", f"objective.beta={','.join(map(str, BETAS))}") == 0
    names = [f"pico,objective.beta={beta}" for beta in BETAS]
    made = [{f"{s['kind']}/{s['label']}": s for s in result(workspace, name)["steps"]} for name in names]  # type: ignore[attr-defined]
    assert len({steps["checkpoint/final"]["fingerprint"] for steps in made}) == len(BETAS)
    assert [steps["checkpoint/sft"]["status"] for steps in made] == ["NEW", "HIT", "HIT"]
    table = capfd.readouterr().out.rpartition("Mean over domains")[2]
    assert all(f"objective.beta={beta} final" in table for beta in BETAS)


def test_trackers_of_both_phases_are_told(workspace: Path) -> None:
    told = [f"train.{phase}.report_to=[tensorboard]" for phase in ("sft", "preference")]
    assert run(workspace, "experiment=pico", "name=tracked", "store.path=tracked", *told) == 0
    files = workspace.glob("tracked/checkpoint/*/tensorboard/events.*")
    assert {path.parts[-3].split("-")[0] for path in files} == {"sft", "final"}


def test_more_prompts_a_task_reuse_the_answers_to_the_first(workspace: Path) -> None:
    words = ("experiment=procedural", "recipe=replay")
    assert run(workspace, *words) == 0
    assert run(workspace, *words, "prompts.per_task=3") == 0
    made = {f"{s['kind']}/{s['label']}": s for s in result(workspace, "procedural")["steps"]}  # type: ignore[attr-defined]
    for source in SOURCES:
        assert made[f"responses/{source}"]["status"] == "REUSE"
        assert 0 < made[f"responses/{source}"]["rows_reused"] < made[f"responses/{source}"]["rows_out"]
