"""Rows and tokens: the paper's tables, and what a limit leaves of them."""

from __future__ import annotations

import pytest

from fusion.generators.base import Sampling
from fusion.planning.assumptions import Domain
from fusion.planning.tokens import (
    evenly_limited,
    expected,
    prompts_load,
    responses_load,
    rewards_load,
    training_load,
)
from fusion.prompts.base import RawPrompt, evenly
from fusion.prompts.jsonl import Jsonl
from fusion.prompts.mixture import Mixture
from fusion.prompts.reasoning_gym import ReasoningGym

PAPER = {
    "instruction": Domain(rows=80_907, sft_rows=32_362, pair_rows=48_545),
    "math": Domain(rows=51_803, sft_rows=40_188, pair_rows=11_615),
    "code": Domain(rows=16_005, sft_rows=12_037, pair_rows=3_968),
    "chinese": Domain(rows=9_952, sft_rows=9_952),
}
GENERAL = Sampling(num_samples=5, num_samples_by_domain={"code": 8, "math": 0, "chinese": 0})
"""Each of the four general sources but Qwen's Chinese."""


def test_the_mix_of_the_paper_adds_up() -> None:
    assert prompts_load(PAPER).rows == 158_667
    assert training_load(PAPER, "sft", 2048).rows == 94_539
    assert training_load(PAPER, "pairs", 2048).rows == 64_128


def test_four_sources_give_the_published_number_of_answers() -> None:
    """20 for each instruction, 32 for each code prompt, 500 tokens each."""
    load = responses_load(PAPER, GENERAL)
    assert 4 * load.rows == 80_907 * 20 + 16_005 * 32
    assert 4 * load.written == pytest.approx(1.07e9, rel=0.01)
    assert load.read == (80_907 + 16_005) * 200  # each prompt once, however many samples


def test_an_answer_is_no_longer_than_it_may_be() -> None:
    short = Sampling(num_samples=1, max_new_tokens=16)
    assert responses_load({"math": Domain(rows=10)}, short).written == 160


def test_a_reward_reads_every_answer_with_its_prompt() -> None:
    load = rewards_load({"math": Domain(rows=10), "code": Domain(rows=1)}, Sampling(num_samples=3))
    assert (load.rows, load.tokens, load.mean_length) == (33, 33 * 700, 700)


def test_training_reads_both_answers_of_a_pair_and_cuts_what_is_too_long() -> None:
    domains = {"math": Domain(rows=10, sft_rows=6, pair_rows=4)}
    assert training_load(domains, "sft", 2048).read == 6 * 700
    assert training_load(domains, "pairs", 2048).read == 4 * 2 * 700
    assert training_load(domains, "pairs", 300).read == 4 * 2 * 300


def test_where_nobody_says_how_prompts_are_shared_out_all_train_both() -> None:
    load = [training_load({"math": Domain(rows=10)}, kind, 2048).rows for kind in ("sft", "pairs")]
    assert load == [10, 10]


@pytest.mark.parametrize("limit", [0, 1, 7, 40, 100, 10**6])
def test_a_limit_takes_from_the_domains_as_prompts_do(limit: int) -> None:
    sizes = {"math": 50, "code": 3, "chinese": 20}
    prompts = [RawPrompt(str(i), (), name, "d", None) for name, size in sizes.items() for i in range(size)]
    kept = evenly(prompts, limit)
    domains = {name: Domain(rows=size) for name, size in sizes.items()}
    found = evenly_limited(domains, limit)
    assert found == {name: sum(prompt.domain == name for prompt in kept) for name in sizes}


def test_a_limited_run_keeps_the_shares_of_the_phases() -> None:
    domains = expected(Jsonl(path="unread.jsonl", limit=1000), {"math": PAPER["math"]})
    assert (domains["math"].rows, domains["math"].sft_rows, domains["math"].pair_rows) == (1000, 776, 224)


def test_a_source_that_knows_its_size_says_so_unread() -> None:
    gym = ReasoningGym(tasks={"gcd": {}, "products": {}}, per_task=40)
    mixed = Mixture(parts={"a": gym, "b": ReasoningGym(tasks={"gcd": {}}, per_task=5, limit=3)})
    assert {name: domain.rows for name, domain in expected(mixed, {}).items()} == {"gcd": 43, "products": 40}
    assert expected(Jsonl(path="unread.jsonl"), {}) == {}
