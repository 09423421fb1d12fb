"""The paper's five recipes: composed, forecast without a GPU or a hub, and held against the paper's tables."""

from __future__ import annotations

import pytest

from fusion.config import composed, typed
from fusion.pipeline import build
from fusion.planning.assumptions import Assumptions
from fusion.planning.forecast import forecast
from fusion.planning.step_forecast import StepForecast
from fusion.recipe import Recipe
from fusion.revisions import pin

# target: objective, its beta, learning rates of SFT and of preference training
PAPER = {
    "llama31_8b": ("LnDpo", 10, 5e-6, 8e-7),
    "llama32_3b": ("LnDpo", 10, 5e-6, 1e-6),
    "llama32_1b": ("LnDpo", 10, 5e-6, 1e-6),
    "qwen25_7b": ("Dpo", 0.01, 2e-6, 3e-7),
    "gemma2_9b": ("Dpo", 0.01, 2e-6, 5e-7),
}


pytestmark = pytest.mark.usefixtures("no_hub")


def recipe(target: str, *overrides: str) -> Recipe:
    tree = composed([f"experiment=fusechat3_{target}", *overrides])
    pin(tree, wait_s=5)
    return build(typed(tree))


def forecasts(made: Recipe) -> dict[str, StepForecast]:
    assumptions = made.config.planning
    assert isinstance(assumptions, Assumptions)
    return {one.name: one for one in forecast(made, assumptions)}


@pytest.mark.parametrize("target", PAPER)
def test_training_is_set_as_in_the_paper(target: str) -> None:
    config = recipe(target).config
    objective, beta, sft_rate, preference_rate = PAPER[target]
    sft, preference = config.train.sft, config.train.preference
    assert config.target is not None
    assert config.target.name == target
    assert (type(config.objective).__name__, getattr(config.objective, "beta", None)) == (objective, beta)
    assert (sft.learning_rate, preference.learning_rate) == (sft_rate, preference_rate)
    assert (sft.epochs, preference.epochs) == (3, 1)
    for phase in (sft, preference):
        assert (phase.global_batch_size, phase.max_length, phase.warmup_frac) == (128, 2048, 0.1)


def test_sources_are_sampled_as_in_the_paper() -> None:
    sources = recipe("llama31_8b").config.sources
    asked = {
        name: [source.sampling.num_samples_of(domain) for domain in ("instruction", "code", "chinese", "math")]
        for name, source in sources.items()
    }
    assert asked == {
        "gemma2_27b": [5, 8, 0, 0],
        "mistral_large_2407": [5, 8, 0, 0],
        "qwen25_72b": [5, 8, 1, 0],
        "llama31_70b": [5, 8, 0, 0],
        "qwen25_math_72b": [0, 0, 0, 5],
        "llama31_405b": [0, 0, 0, 1],
    }
    for name, source in sources.items():
        settings = (source.sampling.temperature, source.sampling.top_p, source.sampling.repetition_penalty)
        assert settings == ((0.7, 0.8, 1.05) if name.startswith("qwen") else (0.8, 0.95, 1.0))


@pytest.mark.parametrize("target", PAPER)
def test_the_plan_has_the_paper_s_rows_and_fits(target: str) -> None:
    steps = forecasts(recipe(target))
    assert not [one.note for one in steps.values() if not one.fits]
    assert not [name for name, one in steps.items() if one.gpu_hours is None]
    assert steps["prompts/train"].rows == 158_667
    assert (steps["sft/train"].rows, steps["pairs/train"].rows) == (94_539, 64_128)
    assert "2,216 steps" in steps["checkpoint/sft"].note
    assert "501 steps" in steps["checkpoint/candidates"].note
    answers = [one for name, one in steps.items() if name.startswith("responses/") and "evaluation" not in name]
    assert sum(one.rows or 0 for one in answers) == 80_907 * 20 + 16_005 * 32 + 51_803 * 6 + 9_952
    assert 100 < sum(one.gpu_hours or 0 for one in steps.values()) < 1_000


def test_a_limit_makes_a_trial_of_it() -> None:
    steps = forecasts(recipe("llama32_1b", "prompts.limit=64"))
    assert steps["prompts/train"].rows == 64
    assert sum(one.gpu_hours or 0 for one in steps.values()) < 1


def test_no_question_of_the_benchmarks_trains() -> None:
    """14 benchmarks, of which LiveBench has six data sets; the questions of the evaluation itself stay there."""
    steps = recipe("qwen25_7b").steps
    kept_out = steps["prompts/train"].config.decontaminate  # type: ignore[attr-defined]
    assert len({name.split("_")[0] if name.startswith("livebench") else name for name in kept_out.benchmarks}) == 14
    assert steps["prompts/evaluation"].config.decontaminate is None  # type: ignore[attr-defined]
