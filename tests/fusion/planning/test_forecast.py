"""Forecasts of real recipes, composed as a user composes them, without data, models, GPUs or a hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from fusion.config import composed, typed
from fusion.pipeline import build
from fusion.planning.assumptions import Assumptions, Domain
from fusion.planning.forecast import forecast
from fusion.planning.step_forecast import StepForecast
from fusion.planning.table import forecast_table, short

COMMIT = "c" * 40
QUICKSTART = ["experiment=quickstart", "prompts.per_task=40"]
LARGE = [
    "cluster=one_gpu_node",
    "source=[qwen25_72b,llama31_70b]",
    "target=llama31_8b",
    "train.sft.global_batch_size=8",
    *(f"{model}.model.revision={COMMIT}" for model in ("sources.qwen25_72b", "sources.llama31_70b", "target")),
]
"""The quickstart's questions, asked of large models."""


def forecasts(*overrides: str, assumptions: Assumptions | None = None) -> dict[str, StepForecast]:
    config = typed(composed(list(overrides)))
    return {one.name: one for one in forecast(build(config), assumptions or Assumptions())}


@pytest.fixture(scope="module")
def large() -> dict[str, StepForecast]:
    return forecasts(*QUICKSTART, *LARGE)


def test_every_step_has_rows(large: dict[str, StepForecast]) -> None:
    """4 families of 40 questions, 5 samples of each source; 30 of each family are held out."""
    rows = {name: one.rows for name, one in large.items()}
    assert rows["prompts/train"] == 160
    assert rows["responses/qwen25_72b"] == rows["rewards/qwen25_72b-answer"] == 800
    assert rows["responses/evaluation-final"] == 120
    assert rows["checkpoint/sft"] == 160
    assert rows["comparison/scores"] == 0


def test_models_cost_gpu_hours_and_verifiers_none(large: dict[str, StepForecast]) -> None:
    for name in ("responses/qwen25_72b", "rewards/llama31_70b-likelihood", "checkpoint/final", "logprobs/reference"):
        assert large[name].gpu_hours, name
        assert large[name].memory_gib, name
    assert large["rewards/llama31_70b-answer"].gpu_hours == 0
    assert large["rewards/llama31_70b-answer"].memory_gib is None


def test_hours_are_those_of_all_the_gpus_of_a_step(large: dict[str, StepForecast]) -> None:
    answers, training = large["responses/qwen25_72b"], large["checkpoint/sft"]
    assert answers.gpu_hours == pytest.approx(4 * (answers.hours or 0))
    assert training.gpu_hours == pytest.approx(8 * (training.hours or 0))


def test_a_model_is_fetched_once(large: dict[str, StepForecast]) -> None:
    """70.6, 72.7 and 8.0 billion weights of two bytes; the target is also what judges the likelihood."""
    assert sum(one.download_gib for one in large.values()) == pytest.approx(
        2 * (70_553_706_496 + 72_706_203_648 + 8_030_261_248) / 2**30
    )


def test_what_does_not_fit_says_what_would() -> None:
    found = forecasts(
        *QUICKSTART, *LARGE, "cluster.pools.responses.tensor_parallel=1", "cluster.pools.responses.gpus=1"
    )
    answers = found["responses/qwen25_72b"]
    assert not answers.fits
    assert answers.gpu_hours is None
    assert answers.note.endswith("do not fit in 72; tensor_parallel 2 does")
    big = forecasts(*QUICKSTART, *LARGE, "train.sft.max_length=32768")["checkpoint/sft"]
    assert not big.fits
    assert "train.sft.execution: gradient_checkpointing: true" in big.note


def test_a_measured_speed_wins(large: dict[str, StepForecast]) -> None:
    slow = Assumptions(tokens_per_s={"qwen25_72b": 100.0})
    found = forecasts(*QUICKSTART, *LARGE, assumptions=slow)["responses/qwen25_72b"]
    assert "100 tokens/s" in found.note
    assert (found.hours or 0) > 10 * (large["responses/qwen25_72b"].hours or 0)


def test_told_prompts_win_and_domains_may_be_left_out() -> None:
    told = Assumptions(prompts={"math": Domain(rows=10), "code": Domain(rows=3)})
    by_domain = "+sources.qwen25_72b.sampling.num_samples_by_domain={math: 0, code: 8}"
    found = forecasts(*QUICKSTART, *LARGE, by_domain, assumptions=told)
    assert found["responses/qwen25_72b"].rows == 24
    assert found["responses/llama31_70b"].rows == 13 * 5


def test_unknown_prompts_are_said_to_be_unknown(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"prompt": "a"}\n')
    groups = ["prompts=jsonl", "reward=[answer]", "selection=best_worst_per_source", "objective=ln_dpo", "name=unknown"]
    held_out = ["prompts@evaluation.prompts=easy_reasoning_held_out", "evaluation.reward=answer"]
    rules = ["selection.rank_by=answer", f"prompts.path={tmp_path}/train.jsonl"]
    found = forecasts(*LARGE, *groups, *held_out, *rules)
    assert found["responses/qwen25_72b"].rows is None
    assert found["responses/qwen25_72b"].gpu_hours is None
    assert "type planning.prompts.DOMAIN.rows=N" in found["checkpoint/sft"].note
    assert found["responses/evaluation-base"].rows == 4 * 40


def test_a_model_without_a_shape_is_said_to_have_none() -> None:
    found = forecasts(*QUICKSTART, *LARGE, "sources.qwen25_72b.model.shape=null")
    assert found["responses/qwen25_72b"].gpu_hours is None
    assert "hf://Qwen/Qwen2.5-72B-Instruct is not known" in found["responses/qwen25_72b"].note
    assert found["responses/llama31_70b"].gpu_hours


def test_without_gpus_nothing_costs_any() -> None:
    found = forecasts(*QUICKSTART)
    assert sum(one.gpu_hours or 0 for one in found.values()) == 0
    assert all(one.memory_gib is None for one in found.values())
    assert found["responses/gemma3_270m"].tokens == 160 * (200 + 4 * 16)  # answers of at most 16 tokens


def test_the_table_sums_what_is_left_to_do(large: dict[str, StepForecast]) -> None:
    steps = list(large.values())
    console = Console(width=200)
    with console.capture() as shown:
        console.print(forecast_table(steps, done=[large["responses/qwen25_72b"].fingerprint]))
    text = shown.get()
    left = sum(one.gpu_hours or 0 for one in steps if one.name != "responses/qwen25_72b")
    (footer,) = [line for line in text.splitlines() if line.startswith("left to do")]
    assert short(left) in footer
    assert "responses/qwen25_72b" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0, ""), (0.034, "0.034"), (7.25, "7.2"), (45.6, "46"), (4_321, "4.32k"), (1.2e9, "1.2B")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text
