"""FuseRL's rows: one a source, with weights that sum to 1 within a prompt."""

from __future__ import annotations

import math

import polars as pl
import pytest

from fusion.errors import ConfigError
from fusion.selection.base import PairPolicy, Window, WindowScale
from fusion.selection.every_source import EverySource
from fusion.selection.weighted import weighted_answers, weighted_pairs
from tests.fusion.selection.test_triples import answer

PROMPTS = pl.DataFrame({"prompt_id": ["p", "q"], "dataset": ["d", "d"], "domain": ["math", "math"]})
FRAME = pl.DataFrame(
    [
        answer("p", "a", 0, 0.15), answer("p", "a", 1, 0.11), answer("p", "b", 0, 0.12), answer("p", "b", 1, 0.13),
        answer("q", "b", 0, 0.05), answer("q", "b", 1, 0.02),
    ]
)  # fmt: skip
ANY_MARGIN = Window(low=0.0, high=1.0, scale=WindowScale.QUANTILE)


def rule(**settings: object) -> EverySource:
    return EverySource(**{"rank_by": "rm", "window": ANY_MARGIN} | settings)  # type: ignore[arg-type]


def test_weights_are_a_softmax_over_the_best_rewards_of_the_sources() -> None:
    rows = weighted_answers(FRAME, PROMPTS, rule(temperature=0.02)).rows.to_dicts()
    first = 1 / (1 + math.exp(-0.02 / 0.02))  # 0.15 against 0.13
    assert [(r["prompt_id"], r["source"], r["sample_index"]) for r in rows] == [
        ("p", "a", 0),
        ("p", "b", 1),
        ("q", "b", 0),
    ]
    assert [r["weight"] for r in rows] == pytest.approx([first, 1 - first, 1.0])
    entropy = -first * math.log(first) - (1 - first) * math.log(1 - first)
    assert [r["effective_sources"] for r in rows] == pytest.approx([math.exp(entropy)] * 2 + [1.0])


@pytest.mark.parametrize(("temperature", "effective"), [(1e-4, 1.0), (10.0, 2.0)])
def test_the_temperature_goes_from_one_source_to_all_alike(temperature: float, effective: float) -> None:
    rows = weighted_answers(FRAME, PROMPTS, rule(temperature=temperature)).rows
    assert rows["effective_sources"][0] == pytest.approx(effective, abs=1e-3)


def test_pairs_are_every_sources_best_and_worst_with_the_same_weights() -> None:
    found = weighted_pairs(FRAME, PROMPTS, rule(temperature=0.02))
    first = 1 / (1 + math.exp(-1))
    keys = ["prompt_id", "pair_index", "chosen_source", "chosen_index", "rejected_source", "rejected_index"]
    assert [tuple(row[key] for key in keys) for row in found.rows.to_dicts()] == [
        ("p", 0, "a", 0, "a", 1),
        ("p", 1, "b", 1, "b", 0),
        ("q", 0, "b", 0, "b", 1),
    ]
    assert found.rows["weight"].to_list() == pytest.approx([first, 1 - first, 1.0])
    assert found.rows["margin"].to_list() == pytest.approx([0.04, 0.01, 0.03])
    assert found.mean_effective_sources == pytest.approx((1 + found.rows["effective_sources"][0]) / 2)


def test_a_pair_outside_the_window_leaves_the_weight_to_the_others() -> None:
    found = weighted_pairs(FRAME, PROMPTS, rule(window=Window(low=0.02, high=0.1)))
    assert found.rows["chosen_source"].to_list() == ["a", "b"]
    assert found.rows["weight"].to_list() == [1.0, 1.0]


def test_prompts_without_rows_say_why() -> None:
    found = weighted_pairs(FRAME.filter(pl.col("sample_index") == 0), PROMPTS, rule())
    assert found.rows.height == 0
    assert found.drops["reason"].to_list() == ["no_same_source_pair", "no_same_source_pair"]
    none = weighted_answers(FRAME.filter(pl.col("prompt_id") == "p"), PROMPTS, rule())
    assert none.drops.to_dicts() == [{"prompt_id": "q", "reason": "no_response"}]


def test_a_temperature_of_nothing_and_pairs_of_two_sources_are_refused() -> None:
    with pytest.raises(ConfigError, match="temperature"):
        rule(temperature=0.0)
    with pytest.raises(ConfigError, match="same_source"):
        rule(pair_policy=PairPolicy.ALL)
