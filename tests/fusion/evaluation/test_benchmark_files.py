"""Every yaml of conf/benchmark whose data is at hand: it reads, its content is known, and its own gold answers pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.config import composed, typed
from fusion.evaluation.benchmark import Benchmark
from fusion.rewards.base import Candidate
from fusion.rewards.choice_answer import parsed_choice
from fusion.schema import Outcome
from fusion.step import Placement
from tests.shared_data import ROOT

TEMPLATES = {"harness"}
"""They have no data until somebody names it."""
NAMES = sorted({path.stem for path in (Path(__file__).parents[3] / "conf" / "benchmark").glob("*.yaml")} - TEMPLATES)
ELSEWHERE = {"math", "livecodebench", "livebench"}
"""Their data is not at hand."""
JUDGED = ("alpaca_eval2", "arena_hard", "mt_bench", "alignbench")
SHORT_ANSWERS = (
    "gsm8k", "math500", "amc23", "aime24", "svamp", "cmath", "minerva", "gaokao_choice", "gaokao_cloze", "gaokao2023en",
    "mmlu_pro", "mmlu_redux", "gpqa_diamond", "cruxeval", "llmbar",
)  # fmt: skip
GOLD_IS_WORDS = {"minerva": 0.9, "gaokao_cloze": 0.95, "gaokao2023en": 0.95}
"""Share of gold answers that pass when they are given as the answer, where some are intervals or prose."""


def loaded(name: str) -> Benchmark:
    if not (ROOT / "math").exists():
        pytest.skip("the data sets are not at hand (set FUSION_DATA)")
    judge = [f"benchmarks.{name}.reward.revision=test", f"benchmarks.{name}.reward.endpoint.url=http://127.0.0.1:9/v1"]
    judge += [f"benchmarks.{name}.reward.endpoint.model=judge"]
    chosen = ["experiment=eval", f"benchmark=[{name}]", f"data={ROOT}", "cluster=in_process"]
    return typed(composed([*chosen, *(judge if name in JUDGED else [])])).benchmarks[name]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ELSEWHERE])
def test_items_read_and_their_content_is_known(name: str) -> None:
    benchmark = loaded(name)
    prompts = list(benchmark.data.read())
    copy = benchmark.data.copy()
    assert copy.num_items == len(prompts)
    assert copy.content in benchmark.data.copies, f"{copy.content} of {copy.num_items} items is not in the yaml"
    assert len({prompt.key for prompt in prompts}) == len(prompts)
    assert all(prompt.asked.strip() for prompt in prompts)


def test_every_yaml_says_where_numbers_come_from() -> None:
    for name in NAMES:
        text = (Path(__file__).parents[3] / "conf" / "benchmark" / f"{name}.yaml").read_text()
        line = next(line for line in text.splitlines() if line.strip().startswith("num_items:"))
        assert "#" in line, f"{name}: num_items has no source"
        if "published:" in text:
            assert "published_in:" in text, name


def test_mmlu_redux_reads_the_subjects_that_it_has_from_the_hub() -> None:
    tree = composed(["experiment=eval", "benchmark=[mmlu_redux]"])
    assert len(tree.benchmarks.mmlu_redux.data.subsets) == 57
    assert set(tree.benchmarks.mmlu_redux.data.subsets) == {one.domain for one in loaded("mmlu_redux").data.read()}


@pytest.mark.parametrize("name", SHORT_ANSWERS)
def test_gold_answers_pass_their_own_scorer(name: str) -> None:
    benchmark = loaded(name)
    prompts = list(benchmark.data.read())[:40]
    candidates = [
        Candidate(str(i), prompt.messages, prompt.domain, prompt.dataset, prompt.reference, "gold", 0,
                  _as_answer(prompt.reference or ""), "stop")
        for i, prompt in enumerate(prompts)
    ]  # fmt: skip
    with benchmark.reward.open("", Placement()) as scorer:
        outcomes = [score.outcome for score in scorer.score(candidates)]
    share = outcomes.count(Outcome.PASS) / len(outcomes)
    assert share >= GOLD_IS_WORDS.get(name, 1.0), f"{name}: {share:.2f}"


def _as_answer(reference: str) -> str:
    choice = parsed_choice(reference)
    return f"So the answer is ({choice[0]})." if choice else reference
