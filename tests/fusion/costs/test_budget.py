"""A budget is checked before anything starts, and is no part of what is computed."""

from __future__ import annotations

import pytest

from fusion.config import composed, typed
from fusion.costs.account import Used
from fusion.costs.budget import RunBudget
from fusion.errors import ConfigError
from fusion.pipeline import build
from fusion.step import topological

QUICKSTART = ["experiment=quickstart"]
JUDGE = [
    "reward=[answer,likelihood,judge]", "rewards.judge.endpoint.url=http://127.0.0.1:9/v1",
    "rewards.judge.endpoint.model=m", "rewards.judge.revision=1",
]  # fmt: skip
TOKEN_PRICES = [
    "rewards.judge.budget.usd_per_million_prompt_tokens=1", "rewards.judge.budget.usd_per_million_completion_tokens=4"
]  # fmt: skip


def fingerprints(*overrides: str) -> list[str]:
    recipe = build(typed(composed([*QUICKSTART, *overrides])))
    return [step.fingerprint for step in topological(recipe.targets)]


def test_budget_prices_and_calibration_are_no_identity() -> None:
    plain = fingerprints()
    assert fingerprints("budget.max_usd=5", "cluster.price.usd_per_hour=0.5", "budget.max_gpu_hours=7") == plain
    assert fingerprints("planning.calibration_prompts=7") == plain
    assert fingerprints("seed=43") != plain


def test_money_without_a_price_is_refused_and_hours_are_not() -> None:
    with pytest.raises(ConfigError, match=r"budget\.max_usd=5 needs a price; set cluster\.price\.usd_per_gpu_hour"):
        typed(composed([*QUICKSTART, "budget.max_usd=5"]))
    with pytest.raises(ConfigError, match="needs a price"):
        typed(composed([*QUICKSTART, *JUDGE, "budget.max_usd=5"]))
    for priced in (
        ["cluster.price.usd_per_hour=1"],
        ["cluster=aws", "train.sft.global_batch_size=8"],
        [*JUDGE, *TOKEN_PRICES],
    ):
        assert typed(composed([*QUICKSTART, *priced, "budget.max_usd=5"])).budget.max_usd == 5
    assert typed(composed([*QUICKSTART, "budget.max_gpu_hours=5"])).budget.max_gpu_hours == 5


@pytest.mark.parametrize("name", ["max_usd", "max_gpu_hours"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_is_above_zero(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"budget\.{name} must be above 0 \(null is no limit\), got {value}"):
        RunBudget(**{name: value})


def test_what_is_passed_is_named() -> None:
    budget = RunBudget(max_usd=2, max_gpu_hours=3)
    assert budget.passed(Used(1e9, 3 * 3600 - 1, 1.99)) == ""
    assert budget.passed(Used(0, 3 * 3600, 1.99)) == "budget.max_gpu_hours=3"
    assert budget.passed(Used(0, 0, 2.0)) == "budget.max_usd=2"
    assert RunBudget().passed(Used(1e9, 1e9, 1e9)) == ""
