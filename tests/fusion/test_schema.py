"""Keys are content, types are checked, seeds belong to samples."""

from __future__ import annotations

import pytest

from fusion.errors import SchemaError
from fusion.schema import PREFERENCE_PAIR, PROMPT, RESPONSE, hash_text, prompt_id, prompt_of, sample_seed

MESSAGES = [{"role": "user", "content": "What is 2 + 2?"}]
ROW = {"prompt_id": "p", "messages": MESSAGES, "domain": "math", "dataset": "d", "reference": "4"}


def test_a_changed_gold_answer_is_another_prompt() -> None:
    assert prompt_id(MESSAGES, "4") != prompt_id(MESSAGES, "5")
    assert prompt_id(MESSAGES, None) != prompt_id(MESSAGES, "")


def test_surrounding_space_is_the_same_prompt() -> None:
    assert prompt_id([{"role": "user", "content": " What is 2 + 2?\n"}], "4") == prompt_id(MESSAGES, "4")


def test_parts_of_a_hash_do_not_run_together() -> None:
    assert hash_text("ab", "c") != hash_text("a", "bc")


def test_each_sample_has_its_own_seed() -> None:
    seeds = {sample_seed(42, p, s, i) for p in ("p", "q") for s in ("a", "b") for i in range(4)}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_rows_become_a_checked_table() -> None:
    assert PROMPT.build([ROW]).to_pylist() == [ROW]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW], "occurs more than once"),
        ([ROW | {"domain": None}], "domain"),
        ([{k: v for k, v in ROW.items() if k != "dataset"}], "dataset"),
        ([ROW | {"extra": 1}], "extra"),
        ([ROW | {"domain": 3}], "prompt"),
    ],
)
def test_bad_rows_are_refused(rows: list[dict[str, object]], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        PROMPT.build(rows)


def test_the_prompt_in_a_key_may_hold_slashes() -> None:
    """Names that files give to their prompts: an evaluation counted their failures to a prompt called HumanEval."""
    assert prompt_of("HumanEval/0/gemma3_270m/2", RESPONSE) == "HumanEval/0"
    assert prompt_of("HumanEval/0/1", PREFERENCE_PAIR) == "HumanEval/0"
    assert prompt_of("3f2a/gemma3_270m/2", RESPONSE) == "3f2a"
