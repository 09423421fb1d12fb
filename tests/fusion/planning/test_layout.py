"""What a run takes of its plan: sources get the plan's engines, unless a pool of their own name says otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.config import composed, typed
from fusion.costs.account import Account
from fusion.errors import ConfigError
from fusion.pipeline import build
from fusion.plan import plan
from fusion.planning.generations import demand_room, placed, shapeless
from fusion.planning.layout import Laid, laid_out
from fusion.recipe import Recipe
from tests.fusion.planning.test_forecast import LARGE, QUICKSTART

LAYOUT = ["tensor_parallel", "pipeline_parallel", "gpus", "replicas"]
OVERRIDES = [*QUICKSTART, *LARGE, "cluster=mine"]


def recipe(folder: Path, *overrides: str, pools: str = "", layout: str = "PLANNED") -> Recipe:
    """The quickstart's questions, asked of two large models on 16 GPUs."""
    mine = f"defaults: [several_nodes, _self_]\nlayout: {layout}\npools:\n  merge: null\n{pools}"
    (folder / "cluster").mkdir(exist_ok=True)
    (folder / "cluster" / "mine.yaml").write_text(mine)
    return build(typed(composed([*OVERRIDES, f"store.path={folder}/store", *overrides], str(folder))))


def laid(made: Recipe) -> Laid:
    return laid_out(made, plan(made.config.store.path, made.targets), Account())


def of_source(made: Recipe, name: str) -> list[dict[str, int]]:
    """Layouts of the two steps at which a source answers."""
    labels = (f"responses/{name}", f"responses/evaluation-{name}")
    found = [vars(made.steps[label].placement) for label in labels]
    return [{key: one[key] for key in LAYOUT} for one in found]


def test_steps_of_sources_take_the_slots_of_the_plan(tmp_path: Path) -> None:
    given = recipe(tmp_path)
    found = laid(given)
    slots = {slot.name: slot.settings for slot in placed(given, given.config.planning).slots}
    assert set(slots) == {"qwen25_72b", "llama31_70b"}
    for name, settings in slots.items():
        assert of_source(found.recipe, name) == [settings] * 2
        assert of_source(given, name) != [settings] * 2
        assert f"{name} {settings['replicas']} x {settings['gpus']}" in found.notice
        assert found.recipe.steps[f"responses/{name}"].placement.part_rows == 64, "what is no layout stays"
    planned = {one.step.name: one.step.placement for one in found.planned}
    assert planned == {name: step.placement for name, step in found.recipe.steps.items()}
    assert [s.fingerprint for s in found.recipe.targets] == [s.fingerprint for s in given.targets]
    demand_room(found.recipe)


def test_a_pool_of_a_source_wins_and_the_plan_lays_the_others_around_it(tmp_path: Path) -> None:
    pool = "  qwen25_72b: {gpus: 8, tensor_parallel: 8, replicas: 1}\n"
    given = recipe(tmp_path, pools=pool)
    found = laid(given)
    own = {"tensor_parallel": 8, "pipeline_parallel": 1, "gpus": 8, "replicas": 1}
    assert of_source(found.recipe, "qwen25_72b") == [own] * 2
    assert "qwen25_72b" not in found.notice
    (slot,) = [slot for slot in placed(given, given.config.planning).slots if slot.name == "qwen25_72b"]
    assert slot.settings == own


def test_a_pool_that_is_too_large_for_the_plan_is_refused_by_its_key(tmp_path: Path) -> None:
    pool = "  qwen25_72b: {gpus: 8, tensor_parallel: 8, replicas: 3}\n"
    with pytest.raises(ConfigError, match=r"cluster\.pools\.qwen25_72b asks for 3 x 8 GPUs of 16.*set it to null"):
        laid(recipe(tmp_path, pools=pool))


def test_a_source_of_unknown_shape_is_refused_by_name_and_left_to_its_pool_where_pools_decide(tmp_path: Path) -> None:
    without = "sources.qwen25_72b.model.shape=null"
    with pytest.raises(ConfigError, match=r"cannot lay qwen25_72b.*sources\.qwen25_72b\.model\.shape"):
        laid(recipe(tmp_path, without))
    given = recipe(tmp_path, without, layout="GIVEN")
    assert shapeless(given, given.config.planning) == ["qwen25_72b"]
    demand_room(given)


def test_pools_decide_unless_the_plan_is_asked_for(tmp_path: Path) -> None:
    given = recipe(tmp_path, layout="GIVEN")
    found = laid(given)
    assert (found.recipe, found.notice) == (given, "")
    assert laid(recipe(tmp_path, "cluster.capacity.gpus=0")).notice == ""


def test_the_reward_pool_takes_what_the_sources_leave_or_all_when_they_are_done(tmp_path: Path) -> None:
    """On 16 GPUs two sources of 8 leave none, and the judges come after them. On 20 they have four."""
    pools = "".join(
        f"  {name}: {{gpus: 4, tensor_parallel: 4, replicas: 2}}\n" for name in ("qwen25_72b", "llama31_70b")
    )

    def judges(gpus: int) -> set[int]:
        found = laid(recipe(tmp_path, f"cluster.capacity.gpus={gpus}", pools=pools))
        assert "likelihood" in found.notice
        return {
            step.placement.replicas
            for step in found.recipe.steps.values()
            if step.kind == "rewards" and step.placement.gpus
        }

    assert judges(16) == {16}
    assert judges(20) == {4}


@pytest.mark.parametrize("cluster", ["kuberay", "aws", "gcp"])
def test_autoscaled_clusters_ask_for_what_the_plan_says(cluster: str) -> None:
    found = typed(composed([*QUICKSTART, *LARGE, f"cluster={cluster}"])).cluster
    assert found.layout.name == "PLANNED"
    assert not any(found.is_fixed(name) for name in ("gemma2_27b", "mistral_large_2407"))
