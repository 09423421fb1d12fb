"""WRPO's, InfiFPO's and FuseRL's recipes: composed, forecast without a GPU or a hub, and held against their papers."""

from __future__ import annotations

import functools

import pytest

from fusion.config import composed, typed
from fusion.errors import ConfigError
from fusion.fingerprint import canonical
from fusion.objectives.infifpo import Fusion, Infifpo
from fusion.objectives.simpo import Simpo
from fusion.objectives.wrpo import Wrpo
from fusion.pipeline import build
from fusion.planning.forecast import forecast
from fusion.planning.step_forecast import StepForecast
from fusion.recipe import Recipe
from fusion.revisions import pin

pytestmark = pytest.mark.usefixtures("no_hub")


@functools.cache
def recipe(*overrides: str) -> Recipe:
    tree = composed([f"experiment={overrides[0]}", *overrides[1:]])
    pin(tree, wait_s=5)
    return build(typed(tree))


def forecasts(made: Recipe) -> dict[str, StepForecast]:
    return {one.name: one for one in forecast(made, made.config.planning)}


def test_wrpo_is_set_as_in_the_paper() -> None:
    config = recipe("wrpo_llama3_8b").config
    assert config.objective == Wrpo(beta=0.01, alpha_max=0.1)
    assert len(config.sources) == 10
    assert (config.train.sft.learning_rate, config.train.preference.learning_rate) == (7e-6, 3e-7)
    assert (config.train.sft.epochs, config.train.preference.epochs) == (1, 1)
    assert config.on_policy.num_samples == 5
    for source in config.sources.values():
        assert (source.sampling.num_samples, source.sampling.temperature, source.sampling.top_p) == (5, 0.8, 0.95)


def test_wrpo_trains_on_a_third_of_the_prompts_and_lets_the_target_answer_the_rest() -> None:
    steps = forecasts(recipe("wrpo_llama3_8b"))
    assert (steps["prompts/sft"].rows, steps["prompts/preference"].rows) == (20_000, 40_000)
    assert steps["responses/gemma2_9b"].rows == 300_000
    assert steps["responses/on_policy"].rows == 200_000
    assert steps["triples/train"].rows == 40_000
    assert "157 steps" in steps["checkpoint/sft"].note
    assert "313 steps" in steps["checkpoint/final"].note
    assert not [name for name, one in steps.items() if one.gpu_hours is None]
    assert all(one.fits for one in steps.values())


def test_infifpo_is_set_as_in_the_paper_and_asks_every_source_but_the_target() -> None:
    made = recipe("infifpo_phi4")
    config, steps = made.config, forecasts(made)
    assert config.objective == Infifpo(beta=2.5, fusion=Fusion.MAX_MARGIN)
    assert (config.train.sft.learning_rate, config.train.preference.learning_rate) == (1e-6, 1e-7)
    assert (config.train.sft.max_length, config.train.sft.epochs) == (4096, 3)
    assert {name: source.sampling.num_samples for name, source in config.sources.items()} == {
        "qwen25_14b": 4, "mistral_small_24b": 4, "gemma3_12b": 4, "qwen25_coder_14b": 4, "qwen25_math_7b": 4, "phi4": 8
    }  # fmt: skip
    asked = {name for name in steps if name.startswith("source_logprobs/")}
    assert asked == {f"source_logprobs/{name}" for name in config.sources if name != "phi4"}
    assert all(one.fits for one in steps.values())
    assert "586 steps" in steps["checkpoint/final"].note
    # The paper: about 8 GPU-hours for five sources on A800, a third as fast.
    assert 1 < sum(steps[name].gpu_hours or 0 for name in asked) < 20


def test_fuserl_has_a_row_a_source_and_simpo_by_override() -> None:
    steps = forecasts(recipe("fuserl_llama31_8b"))
    assert steps["weighted_sft/train"].rows == 4 * 24_000
    assert steps["weighted_pairs/train"].rows == 4 * 36_000
    simpo = recipe("fuserl_llama31_8b", "objective=simpo", "objective.beta=2.5")
    assert isinstance(simpo.config.objective, Simpo)
    assert "logprobs/reference" not in simpo.steps


@pytest.mark.parametrize("name", ["wrpo_cpu", "infifpo_cpu", "fuserl_cpu"])
def test_small_recipes_ask_the_quickstarts_sources_nothing_new(name: str) -> None:
    plain, other = recipe("quickstart"), recipe(name)
    shared = [step for step in plain.steps if step.startswith(("prompts/", "responses/", "rewards/"))]
    shared = [step for step in shared if "evaluation-sft" not in step and "evaluation-final" not in step]
    assert len(shared) > 10
    assert [step for step in shared if plain.steps[step].fingerprint != other.steps[step].fingerprint] == []


def test_small_recipes_share_seed_targets_and_training_settings_with_the_quickstart() -> None:
    plain = recipe("quickstart").config
    for name in ("wrpo_cpu", "infifpo_cpu", "fuserl_cpu"):
        other = recipe(name).config
        assert canonical(other.train) == canonical(plain.train)
        assert canonical(other.target) == canonical(plain.target)
        assert other.seed == plain.seed


def test_a_rule_without_weights_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="selection=every_source"):
        recipe("quickstart", "recipe=fuserl")
