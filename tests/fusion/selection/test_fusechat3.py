"""FuseChat-3.0's rules (section 3.3) as `conf/selection/fusechat3.yaml` composes them, on answers of four domains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl
import pytest

from fusion.config import composed, objects
from fusion.selection.base import Selection
from fusion.selection.pairs import Selected, select

SOURCES = ("gemma", "qwen")
VERIFIER = {"math": "math_answer", "code": "code_tests"}

Answers = Mapping[str, list[tuple[float, str]]]
"""Source -> reward and verdict of each of its samples."""


def spread(margin: float, verdicts: tuple[str, str] = ("pass", "fail")) -> Answers:
    """Three samples of one source, the best and the worst `margin` apart, and a lower, even pair of another."""
    best, worst = verdicts
    return {
        "gemma": [(0.12, best), (0.12 - margin / 2, worst), (0.12 - margin, worst)],
        "qwen": [(0.05, best), (0.05, best)],
    }


PROMPTS: dict[str, tuple[str, str, Answers]] = {
    # prompt_id -> domain, data set, answers
    **{f"ultra{i}": ("instruction", "ultra", spread(0.05)) for i in range(10)},
    **{f"magpie{i}": ("instruction", "magpie", spread(0.10)) for i in range(15)},
    **{f"far{i}": ("instruction", "ultra", spread(0.11)) for i in range(3)},
    **{f"near{i}": ("instruction", "magpie", spread(0.009)) for i in range(3)},
    **{f"sum{i}": ("math", "openmath", spread(0.05)) for i in range(4)},
    **{f"wide_sum{i}": ("math", "openmath", spread(0.3)) for i in range(3)},
    **{f"easy_sum{i}": ("math", "openmath", spread(0.05, ("pass", "pass"))) for i in range(2)},
    **{f"hard_sum{i}": ("math", "openmath", {"gemma": [(0.1, "fail"), (0.05, "error")]}) for i in range(2)},
    **{f"wide_code{i}": ("code", "leetcode", spread(0.5)) for i in range(3)},
    **{f"near_code{i}": ("code", "leetcode", spread(0.001)) for i in range(3)},
    **{f"zh{i}": ("chinese", "alpaca_zh", {"qwen": [(float("nan"), "not_applicable")] * 2}) for i in range(5)},
}


@pytest.fixture(scope="module")
def rule() -> Selection:
    found = objects(composed(["experiment=fusechat3_llama31_8b"])).selection
    assert found is not None
    return found


@pytest.fixture(scope="module")
def selected(rule: Selection) -> Selected:
    columns = [(name, domain, dataset) for name, (domain, dataset, _) in PROMPTS.items()]
    prompts = pl.DataFrame(columns, schema=["prompt_id", "domain", "dataset"], orient="row")
    frame = pl.DataFrame(list(rows()), schema_overrides={"value:armorm": pl.Float32, "folded": pl.UInt64})
    return select(frame.with_columns(pl.col("value:armorm").fill_nan(None)), prompts, rule)


def rows() -> Iterator[dict[str, object]]:
    number = 0
    for name, (domain, dataset, answers) in PROMPTS.items():
        for source, samples in answers.items():
            for index, (reward, verdict) in enumerate(samples):
                number += 1
                judged = {f"outcome:{one}": "not_applicable" for one in VERIFIER.values()}
                judged |= {f"outcome:{VERIFIER[domain]}": verdict} if domain in VERIFIER else {}
                yield {
                    "prompt_id": name, "domain": domain, "dataset": dataset, "source": source, "sample_index": index,
                    "source_order": SOURCES.index(source), "finish_reason": "stop", "length": 5, "folded": number,
                    "value:armorm": reward, "outcome:clean_text": "pass", "outcome:fits_target": "pass", **judged,
                }  # fmt: skip


def of(table: pl.DataFrame, *starts: str) -> list[str]:
    return sorted(name for name in table["prompt_id"] if name.rstrip("0123456789") in starts)


def test_chinese_makes_sft_rows_only(selected: Selected) -> None:
    assert len(of(selected.sft, "zh")) == 5
    assert of(selected.pairs, "zh") == []


def test_instructions_are_filtered_by_the_window_and_then_split_4_to_6_in_each_data_set(selected: Selected) -> None:
    for dataset, sft, pairs in (("ultra", 4, 6), ("magpie", 6, 9)):
        assert (len(of(selected.sft, dataset)), len(of(selected.pairs, dataset))) == (sft, pairs)
    assert not set(selected.sft["prompt_id"]) & set(selected.pairs["prompt_id"])
    reasons = dict(selected.pair_drops.select("prompt_id", "reason").rows())
    assert {reasons[f"{name}{i}"] for name in ("far", "near") for i in range(3)} == {"margin_outside_window"}
    assert of(selected.sft, "far", "near") == []


def test_mathematics_with_a_pair_trains_preference_and_without_one_sft(selected: Selected) -> None:
    assert len(of(selected.pairs, "sum")) == 4
    assert of(selected.sft, "sum") == []
    assert len(of(selected.sft, "wide_sum", "easy_sum")) == 5
    assert of(selected.pairs, "wide_sum", "easy_sum", "hard_sum") == []
    assert of(selected.sft, "hard_sum") == []


def test_code_ignores_the_window(selected: Selected) -> None:
    assert len(of(selected.pairs, "wide_code", "near_code")) == 6
    assert of(selected.sft, "wide_code", "near_code") == []


def test_every_pair_is_of_one_source_its_best_against_its_worst(selected: Selected) -> None:
    for row in selected.pairs.iter_rows(named=True):
        assert (row["chosen_source"], row["rejected_source"]) == ("gemma", "gemma")
        assert (row["chosen_index"], row["rejected_index"]) == (0, 2)
