"""FuseChat-3.0's relatives from the command line: the same answers and rewards, other data and other losses."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest

from fusion.cli import main
from tests.end_to_end.pico import SOURCES, is_unique, make_workspace, result, rows

pytestmark = pytest.mark.slow
IN_PROCESS = "cluster=in_process"
WRPO = ("name=wrpo", "recipe=wrpo", "objective=wrpo", "on_policy={temperature:1.0,max_new_tokens:12,num_samples:3}")
INFIFPO = ("name=infifpo", "recipe=infifpo", "objective=infifpo", "selection.pair_policy=all")
FUSERL = ("name=fuserl", "recipe=fuserl", "selection=every_source", "selection.temperature=2.0", "objective=dpo")
SIMPO = ("name=simpo", *FUSERL[1:-1], "objective=simpo")
SHARED = {f"responses/{source}" for source in SOURCES} | {f"rewards/{source}-likelihood" for source in SOURCES}


def command(workspace: Path, verb: str, *settings: str) -> object:
    """Exit code of a command line that is run in this process: what is imported once serves all runs."""
    arguments = [verb, "--config-dir", str(workspace / "conf"), "experiment=pico", IN_PROCESS, *settings]
    with contextlib.chdir(workspace), pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs over one store, WRPO first."""
    folder = make_workspace(tmp_path_factory.mktemp("family"), num_prompts=16)
    for settings in (WRPO, INFIFPO, FUSERL, SIMPO):
        assert command(folder, "run", *settings) == 0
    return folder


def steps(workspace: Path, name: str) -> dict[str, dict[str, object]]:
    found: list[dict[str, object]] = result(workspace, name)["steps"]  # type: ignore[assignment]
    return {f"{step['kind']}/{step['label']}": step for step in found}


@pytest.mark.parametrize("name", ["infifpo", "fuserl", "simpo"])
def test_answers_and_rewards_of_an_earlier_recipe_are_used_again(workspace: Path, name: str) -> None:
    made = steps(workspace, name)
    assert {step for step in SHARED if made[step]["status"] == "HIT"} == SHARED


@pytest.mark.parametrize("name", ["wrpo", "infifpo", "fuserl", "simpo"])
def test_rows_in_are_rows_out_dropped_and_failed(workspace: Path, name: str) -> None:
    for step in steps(workspace, name).values():
        lost = sum(step["dropped"].values()) + sum(step["failed"].values())  # type: ignore[attr-defined]
        assert step["rows_in"] == step["rows_out"] + lost, step  # type: ignore[operator]


@pytest.mark.parametrize("name", ["wrpo", "infifpo", "fuserl", "simpo"])
def test_both_trained_models_are_evaluated(workspace: Path, name: str) -> None:
    assert {"base", "sft", "final", *SOURCES} <= set(result(workspace, name)["evaluation"])  # type: ignore[call-overload]
    assert (workspace / "runs" / name / "models" / "final" / "model.safetensors").exists()
    assert (workspace / "runs" / name / "report.html").exists()


def test_wrpo_phases_share_no_prompt_and_the_target_answers_those_of_the_second(workspace: Path) -> None:
    sft, triples = rows(workspace, "sft", "wrpo"), rows(workspace, "triples", "wrpo")
    own = rows(workspace, "responses/on_policy", "wrpo")
    assert triples
    assert not {row["prompt_id"] for row in sft} & {row["prompt_id"] for row in own}
    assert {row["prompt_id"] for row in triples} <= {row["prompt_id"] for row in own}
    texts = {(row["prompt_id"], row["sample_index"]): row["text"] for row in own}
    for row in triples:
        assert row["target_chosen"] == texts[row["prompt_id"], row["target_chosen_index"]]
        assert row["rejected"] == texts[row["prompt_id"], row["rejected_index"]]
        assert row["margin"] > 0  # type: ignore[operator]
        assert row["source_chosen_source"] in SOURCES


def test_infifpo_asks_each_source_about_both_answers_of_each_pair(workspace: Path) -> None:
    pairs = rows(workspace, "pairs", "infifpo")
    for source in SOURCES:
        known = rows(workspace, f"source_logprobs/{source}", "infifpo")
        assert len(known) == 2 * len(pairs)
        assert all(row["logprob_sum"] < 0 < row["num_tokens"] for row in known)  # type: ignore[operator]


def test_fuserl_weights_of_a_prompt_sum_to_1_and_their_spread_is_told(workspace: Path) -> None:
    for table in ("weighted_sft", "weighted_pairs"):
        found = rows(workspace, table, "fuserl")
        assert found
        total: dict[object, float] = {}
        for row in found:
            total[row["prompt_id"]] = total.get(row["prompt_id"], 0.0) + row["weight"]  # type: ignore[operator]
            assert 1 <= row["effective_sources"] <= len(SOURCES) + 1e-6  # type: ignore[operator]
        assert all(math.isclose(one, 1, abs_tol=1e-6) for one in total.values())
        told = steps(workspace, "fuserl")[f"{table}/train"]["measures"]["effective_sources"]  # type: ignore[index]
        assert 1 <= told <= len(SOURCES)
    assert is_unique(rows(workspace, "weighted_sft", "fuserl"), "prompt_id", "source")


def test_simpo_shares_all_but_the_last_training_and_computes_no_reference(workspace: Path) -> None:
    made = steps(workspace, "simpo")
    assert "logprobs/reference" not in made
    assert made["checkpoint/sft"]["status"] == "HIT"
    assert made["checkpoint/final"]["status"] == "NEW"


@pytest.mark.parametrize(
    ("settings", "lack"),
    [
        (("objective=wrpo",), "a column source_chosen"),
        (("objective=infifpo",), "log-probabilities of sources"),
        (("recipe=fuserl",), "knows no weights"),
        (("recipe=wrpo",), "a column chosen"),
    ],
)
def test_an_objective_that_does_not_fit_the_recipe_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: tuple[str, ...], lack: str
) -> None:
    assert command(make_workspace(tmp_path), "plan", *settings) == 2
    assert lack in capsys.readouterr().err
