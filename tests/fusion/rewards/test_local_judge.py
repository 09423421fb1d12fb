"""A judge that runs here: a tiny model that was taught to give verdicts, in a real engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fusion.endpoint_config import EndpointConfig
from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.generators.base import Request
from fusion.generators.openai_endpoint import OpenaiEndpoint
from fusion.generators.transformers import Transformers, TransformersEngine
from fusion.judging.judging import Mode
from fusion.judging.template import render
from fusion.models import ModelRef
from fusion.rewards.base import Candidate, Score
from fusion.rewards.local_judge import LocalJudge
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate
from tests.taught_judge import probabilities, teach_judge

asked: list[str] = []
"""Request ids that engines were given since a test began."""


@dataclass(kw_only=True)
class Counted(Transformers):
    """transformers, and a list of what it was asked."""

    @contextmanager
    def open(self, model: Path, placement: Placement) -> Iterator[TransformersEngine]:
        with super().open(model, placement) as engine:
            submit = engine.submit

            def counted(request: Request) -> None:
                asked.append(request.request_id)
                submit(request)

            engine.submit = counted  # type: ignore[method-assign]
            yield engine


@pytest.fixture(scope="module")
def pairwise_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach_judge(tmp_path_factory.mktemp("pairs") / "judge", {"A": 0.75, "B": 0.25})


@pytest.fixture(scope="module")
def pointwise_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach_judge(tmp_path_factory.mktemp("marks") / "judge", {"7": 0.7, "3": 0.3})


def made(uri: Path, folder: Path, **settings: Any) -> LocalJudge:
    common = {"model": ModelRef(uri=str(uri)), "generator": Counted(), "max_new_tokens": 8}
    reward = LocalJudge(**common | {"cache": str(folder / "cache"), "mode": Mode.PAIRWISE} | settings)
    reward.resolve()
    asked.clear()
    return reward


def scores(judge: LocalJudge, *candidates: Candidate) -> list[Score]:
    with judge.open("", Placement(cpus=1, kv_cache_gib=0.1)) as scorer:
        return scorer.score(candidates)


def own_weights(model: Path, judge: LocalJudge, ours: str, baseline: str) -> tuple[float, float]:
    """P(A) shown first and P(B) shown second, from the model's logits over the rendered template."""

    def prompt(first: str, second: str) -> str:
        messages = candidate("").messages
        shown = {"messages": messages, "reference": None, "answer_a": first, "answer_b": second}
        return render(judge.template_text, shown)

    first = probabilities(model, prompt(ours, baseline), "ABC")
    second = probabilities(model, prompt(baseline, ours), "ABC")
    return first[0] + 0.5 * first[2], second[1] + 0.5 * second[2]


def test_both_orders_are_asked_and_a_habit_for_a_place_is_a_tie(pairwise_model: Path, tmp_path: Path) -> None:
    """The judge was taught to say A more often than B, whatever it sees."""
    found = scores(made(pairwise_model, tmp_path), candidate("seven", "base"))[0]
    assert (found.outcome, found.value) == (Outcome.NOT_APPLICABLE, 0.5)
    assert found.detail == "first: win, second: loss; the orders disagree"
    assert len(asked) == 2


def test_weighted_verdicts_are_the_models_own_probabilities(pairwise_model: Path, tmp_path: Path) -> None:
    judge = made(pairwise_model, tmp_path, weighted=True)
    found = scores(judge, candidate("seven", "base"), candidate("a longer answer", "base"))
    for text, one in zip(("seven", "a longer answer"), found, strict=True):
        assert one.value == pytest.approx(sum(own_weights(pairwise_model, judge, text, "base")) / 2, abs=1e-4)
    assert 0.55 < own_weights(pairwise_model, judge, "seven", "base")[0] < 0.95


def test_one_answer_gets_the_number_it_says(pointwise_model: Path, tmp_path: Path) -> None:
    judge = made(pointwise_model, tmp_path, mode=Mode.POINTWISE)
    assert [(one.value, one.detail) for one in scores(judge, candidate("seven"))] == [(7.0, "[[7]]")]


def test_what_was_asked_is_not_asked_again(pairwise_model: Path, tmp_path: Path) -> None:
    judge = made(pairwise_model, tmp_path, weighted=True)
    rows = [candidate("w" * n, "base") for n in range(1, 6)]
    first = scores(judge, *rows)
    assert len(asked) == len(set(asked)) == 10
    asked.clear()
    assert scores(replace(judge, concurrency=1), *rows) == first
    assert asked == []


def test_other_words_another_model_or_another_engine_ask_anew(
    pairwise_model: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    judge = made(pairwise_model, tmp_path)
    scores(judge, candidate("seven", "base"))
    file = tmp_path / "mine.jinja"
    file.write_text("{{ messages[0].content }} {{ answer_a }} or {{ answer_b }}? In [[]].")
    other = teach_judge(tmp_path_factory.mktemp("other") / "judge", {"B": 1.0})
    changes: list[dict[str, Any]] = [
        {"template": str(file)}, {"model": ModelRef(uri=str(other))}, {"generator": Counted(batch_size=3)}
    ]  # fmt: skip
    for settings in changes:
        changed = made(pairwise_model, tmp_path, **settings)
        assert fingerprint(changed) != fingerprint(judge)
        scores(changed, candidate("seven", "base"))
        assert asked, settings
    moved = tmp_path / "moved"
    moved.symlink_to(pairwise_model)
    scores(made(moved, tmp_path), candidate("seven", "base"))
    assert asked == []  # the same weights in another place


def test_repeats_are_drawn_apart_kept_apart_and_averaged(pointwise_model: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"mode": Mode.POINTWISE, "temperature": 1.0, "attempts": 9}
    often = made(pointwise_model, tmp_path, repeats=12, **settings)
    (found,) = scores(often, candidate("seven"))
    assert found.value is not None
    assert 3.0 < found.value < 7.0  # both verdicts came
    assert (found.value * 12) % 4 == pytest.approx(0.0)  # a mean of twelve threes and sevens
    num_asked = len(asked)
    assert num_asked >= 12
    (more,) = scores(made(pointwise_model, tmp_path, repeats=14, **settings), candidate("seven"))
    assert 2 <= len(asked) <= 2 * 9  # twelve are known
    assert more.value is not None
    assert found.value * 12 + 6 <= more.value * 14 <= found.value * 12 + 14


def test_a_prompt_that_is_too_long_is_an_error_of_its_row(pairwise_model: Path, tmp_path: Path) -> None:
    judge = made(pairwise_model, tmp_path, generator=Counted(max_model_len=2000))
    found = scores(judge, candidate("x" * 3000, "base"), candidate("seven", "base"))
    assert [one.outcome for one in found] == [Outcome.ERROR, Outcome.NOT_APPLICABLE]
    assert "the model's context is 2000" in str(found[0].detail)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repeats": 3}, "asks the same greedy judge again"),
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"temperature": None}, "needs a temperature"),
        ({"generator": OpenaiEndpoint(endpoint=EndpointConfig(url="http://h/v1", model="m"))}, "is reward judge"),
        ({"model": ModelRef(uri="/nowhere")}, "does not exist"),
    ],
)
def test_what_cannot_judge_is_refused(settings: dict[str, Any], message: str, pairwise_model: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=message):
        made(pairwise_model, tmp_path, **settings)
