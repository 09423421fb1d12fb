"""Gates on scored answers: closed forms, and real scores whose bias is known."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Iterator, Sequence

import pytest

from fusion.trust import TrustConfig
from fusion.trust.judged import Judged, mid_ranks, spearman, superiority
from fusion.trust.tables import agreement_gate, favouritism_gate, length_gate
from tests.shared_data import shared_data

LIMITS = TrustConfig()
VARIANTS = ["gpt-3.5-turbo-1106", "gpt-3.5-turbo-1106_concise", "gpt-3.5-turbo-1106_verbose"]


def test_ranks_and_correlation_are_those_of_scipy() -> None:
    from scipy import stats

    draw = random.Random(0)
    for _ in range(20):
        one, other = ([draw.randrange(6) for _ in range(12)] for _ in range(2))
        assert list(mid_ranks(one)) == list(stats.rankdata(one))
        assert spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
        u = stats.mannwhitneyu(one, other).statistic
        assert superiority(one, other) == pytest.approx(u / 144)
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def sample(weight_length: float = 0.0, gift: float = 0.0, weight_right: float = 0.0) -> list[Judged]:
    """60 prompts, two families of two sources, three answers each; values lean on what is asked for."""
    draw = random.Random(1)
    rows = []
    for prompt in range(60):
        ease = draw.gauss(0, 5)  # values of different prompts must not be compared
        for source in ("a1", "a2", "b1", "b2"):
            for _ in range(3):
                length, is_right = draw.randint(100, 2000), draw.random() < 0.5
                value = ease + draw.gauss(0, 1) + weight_length * length / 1000 + gift * (source[0] == "a")
                rows.append(Judged(f"p{prompt}", source, value + weight_right * is_right, length, is_right))
    return rows


FAMILIES = {"a1": "a", "a2": "a", "b1": "b", "b2": "b"}


def test_unbiased_values_pass_length_and_favouritism() -> None:
    rows = sample(weight_right=1.5)
    for result in (
        length_gate(rows, 0.4, 20),
        favouritism_gate(rows, FAMILIES, 0.25, 20),
        agreement_gate(rows, 0.6, 20),
    ):
        assert result.passed, result.line()


@pytest.mark.parametrize(("weight", "tendency"), [(3.0, "longer"), (-3.0, "shorter")])
def test_values_that_follow_length_fail(weight: float, tendency: str) -> None:
    result = length_gate(sample(weight_length=weight), 0.4, 20)
    assert result.passed is False
    assert result.detail.startswith(f"{tendency} answers score higher")
    assert "within one source" in result.detail


@pytest.mark.parametrize(("gift", "favoured"), [(2.0, "a"), (-2.0, "b")])
def test_values_that_favour_a_family_fail(gift: float, favoured: str) -> None:
    result = favouritism_gate(sample(gift=gift), FAMILIES, 0.25, 20)
    assert result.passed is False
    assert f"{favoured} is ranked above what is due to it" in result.detail
    assert "over 60 prompts" in result.detail


def test_family_that_is_better_by_the_verifier_is_not_favoured() -> None:
    rows = [
        Judged(f"p{p}", source, value, 10, is_right)
        for p in range(30)
        for source, value, is_right in (("strong", 2.0, True), ("weak", 1.0, False))
    ]
    assert favouritism_gate(rows, {}, 0.25, 20).measured == 0.0
    unverified = [Judged(row.prompt_id, row.source, row.value, row.length) for row in rows]
    assert favouritism_gate(unverified, {}, 0.25, 20).measured == 0.5


def test_number_of_answers_of_a_family_does_not_matter() -> None:
    few = [Judged(f"p{p}", s, v, 1) for p in range(20) for s, v in (("a", 2.0), ("b", 1.0), ("b", 3.0))]
    many = [*few, *(Judged(f"p{p}", "a", 2.0, 1) for p in range(20) for _ in range(9))]
    assert favouritism_gate(few, {}, 0.25, 20).measured == favouritism_gate(many, {}, 0.25, 20).measured == 0.0


def test_values_turned_round_fail_agreement() -> None:
    right, wrong = (agreement_gate(sample(weight_right=w), 0.6, 20) for w in (3.0, -3.0))
    assert right.measured == pytest.approx(1 - (wrong.measured or 0), abs=0.05)
    assert (right.passed, wrong.passed) == (True, False)


def test_too_few_prompts_are_not_measured() -> None:
    rows = [row for row in sample() if row.prompt_id in ("p1", "p2")]
    for result in (
        length_gate(rows, 0.4, 20),
        favouritism_gate(rows, FAMILIES, 0.25, 20),
        agreement_gate(rows, 0.6, 20),
    ):
        assert (result.passed, result.measured) == (None, None)
        assert "2 prompts" in result.detail
        assert "20 needed (trust.min_prompts)" in result.detail


def preferences(models: Sequence[str]) -> Iterator[Judged]:
    """GPT-4's preference for each model's answer over one reference; length: the model's published mean."""
    with open(shared_data("preference/alpaca_eval2_leaderboard.csv")) as file:
        lengths = {row[""]: float(row["avg_length"]) for row in csv.DictReader(file)}
    with gzip.open(shared_data("preference/alpaca_eval_preference_matrix.csv.gz"), "rt") as file:
        for row in csv.DictReader(file):
            for model in models:
                if row[model]:
                    yield Judged(row["prompt_id"], model, float(row[model]), lengths[model])


@pytest.mark.parametrize("models", [VARIANTS, ["claude-2.1", "claude-2.1_concise"]])
def test_judge_known_to_like_length_fails(models: list[str]) -> None:
    """One model told to be brief or wordy: what differs is length."""
    result = length_gate(list(preferences(models)), LIMITS.max_length_correlation, LIMITS.min_prompts)
    assert result.passed is False, result.line()
    assert "longer answers" in result.detail


@pytest.mark.parametrize(
    "models", [["claude", "claude-2", "claude-2.1", "claude-instant-1.2"], ["vicuna-7b", "vicuna-7b-v1.3"]]
)
def test_versions_of_a_model_asked_for_neither_pass(models: list[str]) -> None:
    rows = list(preferences(models))
    for result in (
        length_gate(rows, LIMITS.max_length_correlation, LIMITS.min_prompts),
        favouritism_gate(rows, {}, LIMITS.max_favouritism, LIMITS.min_prompts),
    ):
        assert result.passed, result.line()


@pytest.mark.parametrize(("gamed", "tendency"), [("NullModel", "above"), ("gpt4_gamed", "below")])
def test_answers_made_for_the_judge_stand_out(gamed: str, tendency: str) -> None:
    """NullModel gives one text, written to deceive the judge, to every prompt; gpt4_gamed answers in a few words."""
    rows = list(preferences([gamed, "claude", "claude-2", "claude-2.1"]))
    result = favouritism_gate(rows, {}, LIMITS.max_favouritism, LIMITS.min_prompts)
    assert result.passed is False
    assert f"{gamed} is ranked {tendency}" in result.detail


def judge_bench(reward: str) -> list[Judged]:
    rows = []
    for line in shared_data("preference/judgebench_rm_scores.jsonl").read_text().splitlines():
        pair = json.loads(line)
        for side, value, wins in zip("AB", pair["rm_scores"][reward], ("A>B", "B>A"), strict=True):
            is_right = pair["label"] == wins
            rows.append(Judged(pair["pair_id"], pair["response_model"], value, pair[f"chars_{side}"], is_right))
    return rows


@pytest.mark.parametrize(
    ("reward", "area", "passes"),
    [
        ("Skywork/Skywork-Reward-Gemma-2-27B", 0.647, True),
        ("Skywork/Skywork-Reward-Llama-3.1-8B", 0.624, True),
        ("Ray2333/GRM-Gemma-2B-rewardmodel-ft", 0.594, False),
    ],
)
def test_reward_models_on_objectively_labelled_pairs(reward: str, area: float, passes: bool) -> None:
    rows = judge_bench(reward)
    result = agreement_gate(rows, LIMITS.min_agreement, LIMITS.min_prompts)
    assert result.measured == pytest.approx(area, abs=1e-3)
    assert result.passed is passes
    assert length_gate(rows, LIMITS.max_length_correlation, LIMITS.min_prompts).passed


def test_mathematics_reward_agrees_with_the_rule() -> None:
    rows = []
    with gzip.open(shared_data("math/qwen25math_rm_100x8.jsonl.gz"), "rt") as file:
        for problem in map(json.loads, file):
            found = zip(problem["response"], problem["pred_score"], problem["score"], strict=True)
            rows += [Judged(problem["idx"], "qwen", value, len(text), is_right) for text, value, is_right in found]
    result = agreement_gate(rows, LIMITS.min_agreement, 10)
    assert result.passed, result.line()
    assert agreement_gate(rows, LIMITS.min_agreement, LIMITS.min_prompts).passed is None, "few problems have both"
