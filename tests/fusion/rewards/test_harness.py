"""Scores of answers to tasks of lm-evaluation-harness, by hand and against the library's own evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fusion.errors import ConfigError
from fusion.prompts.continuations import pairs_of
from fusion.prompts.harness_items import HarnessItems
from fusion.prompts.harness_task import HarnessTask, library
from fusion.rewards.base import Candidate, Score
from fusion.rewards.harness_metric import HarnessMetric, cut, said
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate
from tests.harness_tasks import make_tasks

ANSWERS = {
    "right": "The answer is 7.",
    "wrong": "The answer is 8.",
    "then another question": "The answer is 7.\n\nQ: What is 1 plus 1?\nThe answer is 2.",
    "after the stop": "Let me see.\n\nThe answer is 7.",
    "no words": "7",
    "nothing": "",
    "several": "Not 8. The answer is 7, or the answer is 9",
}
"""To question 3, whose answer is 7."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tasks(tmp_path_factory.mktemp("tasks"), num_items=len(ANSWERS))


def scored(folder: Path, name: str, answers: Mapping[int, str], **settings: Any) -> list[Score]:
    """Of answers by number of question."""
    task = HarnessTask(name=name, include_path=str(folder))
    prompts = list(HarnessItems(name=name, task=task).read())
    metric = HarnessMetric(task=task, **settings)
    metric.resolve()
    asked = [
        Candidate("p", prompts[i].messages, "", "", prompts[i].reference, "tiny", 0, text, "stop")
        for i, text in answers.items()
    ]
    with metric.open("", Placement()) as scorer:
        return scorer.score(asked)


@pytest.mark.parametrize(
    ("filter_name", "expected"),
    [
        ("", {"right": "pass", "wrong": "fail", "then another question": "pass", "after the stop": "fail",
              "no words": "fail", "nothing": "fail", "several": "pass"}),
        ("last", {"right": "pass", "wrong": "fail", "then another question": "pass", "after the stop": "fail",
                  "no words": "pass", "nothing": "fail", "several": "fail"}),
    ],
)  # fmt: skip
def test_answers_are_cut_at_stop_strings_and_read_by_the_filter(
    folder: Path, filter_name: str, expected: Mapping[str, str]
) -> None:
    task = HarnessTask(name="toy_sums", include_path=str(folder))
    prompt = list(HarnessItems(name="sums", task=task).read())[3]
    metric = HarnessMetric(task=task, filter=filter_name)
    metric.resolve()
    assert (metric.metric, metric.filter) == ("exact_match", filter_name or "strict")
    with metric.open("", Placement()) as scorer:
        found = scorer.score([candidate(text, prompt.reference) for text in ANSWERS.values()])
    assert {name: score.outcome.value for name, score in zip(ANSWERS, found, strict=True)} == expected
    assert [score.value for score in found] == [float(outcome == "pass") for outcome in expected.values()]
    assert found[0].detail == "read as '7'"
    assert found[list(ANSWERS).index("nothing")].detail == "no answer found"


def test_a_task_in_python_gives_values_between(folder: Path) -> None:
    """The task's function uses SIGALRM, which works on a main thread only."""
    found = scored(folder, "toy_python", {3: "The answer is 7", 4: "The answer is 8", 5: "The answer is eleven"})
    assert [(score.outcome, score.value) for score in found[:2]] == [(Outcome.PASS, 1.0), (Outcome.NOT_APPLICABLE, 0.5)]
    assert (found[2].outcome, found[2].value) == (Outcome.ERROR, None)
    assert "[invalid]" in str(found[2].detail)


def test_a_metric_or_filter_that_is_not_there_is_refused_with_those_that_are(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"reward.metric is 'gap'; task toy_python has closeness"):
        scored(folder, "toy_python", {}, metric="gap")
    with pytest.raises(ConfigError, match=r"reward.filter is 'first'; task toy_sums has strict, last"):
        scored(folder, "toy_sums", {}, filter="first")


def test_other_prompts_are_not_scored_and_changed_data_is_an_error(folder: Path) -> None:
    task = HarnessTask(name="toy_sums", include_path=str(folder))
    metric = HarnessMetric(task=task)
    metric.resolve()
    reference = {"lm_eval": "toy_sums", "doc_id": 3, "doc_hash": "of another"}
    with metric.open("", Placement()) as scorer:
        others = scorer.score([candidate("7", "7"), candidate("7", json.dumps(reference))])
    assert [score.outcome for score in others] == [Outcome.NOT_APPLICABLE, Outcome.ERROR]
    assert "another one in the data" in str(others[1].detail)


SAID = {0: "[[-1.5, true], [-2.5, false], [-9, false]]", 1: "[[-8, false], [-4, false], [-5, false]]"}
"""Of three continuations each, the first of which is right: one letter, two letters and eleven."""


@pytest.mark.parametrize(
    ("metric", "expected"), [("", [Outcome.PASS, Outcome.FAIL]), ("acc_norm", [Outcome.FAIL, Outcome.FAIL])]
)
def test_of_continuations_the_likeliest_counts_also_by_letter(
    folder: Path, metric: str, expected: Sequence[Outcome]
) -> None:
    found = scored(folder, "toy_choice", SAID, metric=metric)
    assert [score.outcome for score in found] == expected
    assert found[0].detail == "log-probabilities -1.5, -2.5, -9"


def test_a_single_continuation_counts_where_it_is_greedy(folder: Path) -> None:
    found = scored(folder, "toy_word", {0: "[[-1.5, true]]", 1: "[[-0.5, false]]"})
    assert [score.outcome for score in found] == [Outcome.PASS, Outcome.FAIL]


def test_what_does_not_say_a_number_of_each_continuation_is_an_error(folder: Path) -> None:
    found = scored(folder, "toy_choice", {0: "The answer is 1.", 1: "[[-1.5, true]]"})
    assert [(score.outcome, score.value) for score in found] == [(Outcome.ERROR, None)] * 2
    assert "numbers of 1 continuations, of 3 that were given" in str(found[1].detail)


def test_numbers_may_be_strings_as_the_library_logs_them() -> None:
    assert said('[["-0.5", "True"], ["-2.25", "False"], [-3, true]]') == [(-0.5, True), (-2.25, False), (-3.0, True)]


def test_a_text_ends_before_the_first_stop_string() -> None:
    assert cut("7\n\nQ: next", ["Q:", "\n\n"]) == "7"
    assert cut("7 Q: a\n\nb", ["Q:", "\n\n"]) == "7 "
    assert cut("as it is", ["", "Q:"]) == "as it is"


@pytest.mark.parametrize(
    ("name", "filter_name", "metric"),
    [
        ("toy_sums", "strict", "exact_match"),
        ("toy_sums", "last", "exact_match"),
        ("toy_shots", "last", "exact_match"),
        ("toy_python", "last", "closeness"),
    ],
)
def test_prompts_and_scores_are_those_of_the_library(folder: Path, name: str, filter_name: str, metric: str) -> None:
    """Its evaluation asks a model that gives stored answers: the same messages, the same value for each question."""
    answers = [text.replace("7", str(2 * i + 1)) for i, text in enumerate(ANSWERS.values())]
    if name == "toy_python":
        answers = [f"The answer is {i}.\n\nQ: 99" for i in range(len(ANSWERS))]
    samples = evaluated(folder, name, answers)
    theirs = {one["doc_id"]: one for one in samples if one["filter"] == filter_name}
    prompts = list(HarnessItems(name=name, task=HarnessTask(name=name, include_path=str(folder))).read())
    asked = [list(prompt.messages) for prompt in prompts]
    assert asked == [json.loads(theirs[i]["arguments"][0][0]) for i in range(len(answers))]
    ours = scored(folder, name, dict(enumerate(answers)), filter=filter_name, metric=metric)
    assert [score.value for score in ours] == [theirs[i][metric] for i in range(len(answers))]
    assert len({score.value for score in ours}) > 1


@pytest.mark.parametrize("is_chat", [False, True])
@pytest.mark.parametrize(("name", "metric"), [("toy_choice", "acc"), ("toy_choice_shots", "acc_norm")])
def test_continuations_and_scores_are_those_of_the_library(folder: Path, name: str, metric: str, is_chat: bool) -> None:
    answers = [json.dumps([[-1 - i, False], [-4.5, False], [-80 + i, i > 5]]) for i in range(len(ANSWERS))]
    theirs = evaluated(folder, name, answers, is_chat)
    task = HarnessTask(name=name, include_path=str(folder))
    prompts = list(HarnessItems(name=name, task=task, chat=is_chat).read())
    pairs = [pairs_of(str(prompt.reference)) for prompt in prompts]
    logged = [[tuple(pair) for pair in one["arguments"]] for one in theirs]
    assert [[(c if isinstance(c, str) else json.dumps(c), text) for c, text in one] for one in pairs] == logged
    ours = scored(folder, name, dict(enumerate(answers)), metric=metric)
    assert [score.value for score in ours] == [one[metric] for one in theirs]
    assert len({score.value for score in ours}) > 1


def evaluated(folder: Path, name: str, answers: Sequence[str], is_chat: bool = True) -> Sequence[Mapping[str, Any]]:
    """The library's log of samples."""
    from lm_eval import evaluator
    from lm_eval.api.model import LM
    from lm_eval.models.utils import postprocess_generated_text

    class Stored(LM):
        tokenizer_name = "none"

        def apply_chat_template(self, chat_history: Any, add_generation_prompt: bool = True) -> str:
            return json.dumps(chat_history)

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            return [postprocess_generated_text(answers[one.doc_id], one.args[1]["until"], None) for one in requests]

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            return [said(answers[one.doc_id])[one.idx] for one in requests]

        def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any:
            raise NotImplementedError

    manager = library("tasks").TaskManager(include_path=str(folder), include_defaults=False)
    result = evaluator.simple_evaluate(
        Stored(), tasks=[name], task_manager=manager, apply_chat_template=is_chat, bootstrap_iters=0
    )
    return result["samples"][name]
