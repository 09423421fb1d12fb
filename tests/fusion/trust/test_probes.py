"""Gates on scorers: small classifiers that score soundly, and ones that read the wrong token."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from fusion.models import ModelRef
from fusion.rewards.base import Candidate, Score, Scorer
from fusion.rewards.sequence_classifier import SequenceClassifier
from fusion.schema import Outcome, hash_text
from fusion.step import Placement
from fusion.trust import KnownAnswer
from fusion.trust.probes import batching_gate, known_answers_gate, padding_gate
from tests.fusion.rewards.candidates import candidate
from tests.tiny import make_pico_classifier

CANDIDATES = [candidate(text) for text in ("7", "The sum of 3 and 4 is 7.", "No idea", "x" * 60, "Seven, I think.")]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scorer]:
    folder = make_pico_classifier(tmp_path_factory.mktemp("classifier"))
    with SequenceClassifier(model=ModelRef(uri=str(folder))).open("", Placement()) as scorer:
        yield scorer


class ReadsLastColumn:
    """A real model, padded on a chosen side, whose score is read in the last column whatever stands there."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, LlamaForSequenceClassification

        self._model = LlamaForSequenceClassification.from_pretrained(folder).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self.padding_side: str | None = "right"

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        import torch

        batch = self._tokenizer(
            [one.text for one in candidates], padding=True, padding_side=self.padding_side, return_tensors="pt"
        )
        with torch.no_grad():
            hidden_BTH = self._model.model(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
            scores_B1 = self._model.score(hidden_BTH[:, -1])
        return [Score(Outcome.NOT_APPLICABLE, float(value)) for value in scores_B1[:, 0]]


class Says:
    """Answers by a function of the text and of how many are asked for at once."""

    def __init__(self, says: Callable[[str, int], float | None]) -> None:
        self._says = says

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        values = [self._says(one.text, len(candidates)) for one in candidates]
        return [Score(Outcome.ERROR if v is None else Outcome.NOT_APPLICABLE, v) for v in values]


def test_sound_classifier_passes_both(classifier: Scorer) -> None:
    for gate in (batching_gate, padding_gate):
        result = gate(classifier, CANDIDATES, 0.05)
        assert result.passed, result.line()
        assert result.measured is not None
        assert result.measured < 1e-3
    assert classifier.padding_side == "right", "the side is put back"  # type: ignore[attr-defined]


def test_score_read_at_padding_fails_both(tmp_path: Path) -> None:
    scorer = ReadsLastColumn(make_pico_classifier(tmp_path))
    for gate, how in ((batching_gate, "alone"), (padding_gate, "padded on the left")):
        result = gate(scorer, CANDIDATES, 0.05)
        assert result.passed is False
        assert result.measured is not None
        assert result.measured > 0.5, "of the standard deviation of values"
        assert "of 5 answers that of tiny to p0 moved most: " in result.detail
        assert how in result.detail


def test_rounding_counts_in_units_of_the_spread() -> None:
    exact = Says(lambda text, _: float(len(text)))
    lengths = [len(one.text) for one in CANDIDATES]
    mean = sum(lengths) / 5
    spread = math.sqrt(sum((n - mean) ** 2 for n in lengths) / 5)
    rough = Says(lambda text, size: len(text) + 0.01 * (size == 1))
    assert batching_gate(exact, CANDIDATES, 0.0).measured == 0.0
    assert batching_gate(rough, CANDIDATES, 0.05).measured == pytest.approx(0.01 / spread)


@pytest.mark.parametrize("alone", [None, math.nan])
def test_answer_scored_only_in_company_fails(alone: float | None) -> None:
    scorer = Says(lambda text, size: alone if size == 1 and text == "7" else float(len(text)))
    result = batching_gate(scorer, CANDIDATES, 0.05)
    assert (result.passed, result.measured) == (False, math.inf)


def test_gates_without_anything_to_measure_say_so() -> None:
    scorer = Says(lambda text, _: None)
    assert batching_gate(scorer, CANDIDATES, 0.05).passed is None
    assert batching_gate(scorer, CANDIDATES[:1], 0.05).detail == "1 answers to try; two or more are needed"
    assert padding_gate(scorer, CANDIDATES, 0.05).detail == "the scorer has no padding side to choose"
    assert known_answers_gate(scorer, CANDIDATES, [], "rm").passed is None


def test_known_answers_by_text_and_by_hash() -> None:
    scorer = Says(lambda text, _: float(len(text)))
    by_text = KnownAnswer(reward="rm", prompt="Hi", response="1234", value=4.1, tolerance=0.2)
    by_hash = KnownAnswer(reward="rm", prompt_id="p0", text_hash=hash_text("No idea"), value=7.05, tolerance=0.2)
    result = known_answers_gate(scorer, CANDIDATES, [by_text, by_hash], "rm")
    assert result.passed is True
    assert result.measured == pytest.approx(0.5)
    wrong = KnownAnswer(reward="rm", prompt="Hi", response="1234", value=-2.0, tolerance=0.5)
    result = known_answers_gate(scorer, CANDIDATES, [by_text, wrong], "rm")
    assert (result.passed, result.measured) == (False, 12.0)
    assert result.detail == "of 2 recorded scores the farthest is 4, recorded as -2 +- 0.5"


def test_known_answers_of_another_reward_or_another_sample_are_not_measured() -> None:
    scorer = Says(lambda text, _: float(len(text)))
    absent = KnownAnswer(reward="rm", prompt_id="p9", text_hash=hash_text("7"), value=1.0, tolerance=0.1)
    assert known_answers_gate(scorer, CANDIDATES, [absent], "other").detail.startswith("no score of it is recorded")
    assert known_answers_gate(scorer, CANDIDATES, [absent], "rm").detail.startswith("none of 1 recorded answers")


def test_known_answer_that_cannot_be_scored_fails() -> None:
    entry = KnownAnswer(reward="rm", prompt="Hi", response="1", value=1.0, tolerance=0.1)
    assert known_answers_gate(Says(lambda text, _: None), [], [entry], "rm").passed is False
