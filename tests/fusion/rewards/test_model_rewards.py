"""Rewards with a model: a score belongs to a response, not to its batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.models import ModelRef
from fusion.rewards.base import Candidate, Reward
from fusion.rewards.likelihood import Likelihood
from fusion.rewards.sequence_classifier import Precision, SequenceClassifier
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate
from tests.tiny import make_pico_classifier, make_pico_llama

TEXTS = ["7", "The sum of 3 and 4 is 7.", "No idea", "", "7", "x" * 60, "Seven, I think."]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pico_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pico_classifier(tmp_path_factory.mktemp("classifier"))


def values(reward: Reward, candidates: list[Candidate], alone: bool = False) -> list[float]:
    with reward.open("", Placement()) as scorer:
        batches = [[one] for one in candidates] if alone else [candidates]
        scores = [score for batch in batches for score in scorer.score(batch)]
    assert all(score.outcome == Outcome.NOT_APPLICABLE for score in scores)
    return [score.value for score in scores if score.value is not None]


@pytest.mark.parametrize("kind", ["llama", "classifier"])
def test_batched_equals_alone(kind: str, request: pytest.FixtureRequest) -> None:
    ref = ModelRef(uri=str(request.getfixturevalue(kind)))
    reward = Likelihood(model=ref) if kind == "llama" else SequenceClassifier(model=ref)
    candidates = [candidate(text) for text in TEXTS]
    together = values(reward, candidates)
    assert together == pytest.approx(values(reward, candidates, alone=True), abs=1e-4)
    assert len(set(together)) == len(set(TEXTS)), "different texts have different scores, equal texts equal ones"


def test_batches_of_any_size_give_the_same_scores(classifier: Path) -> None:
    ref = ModelRef(uri=str(classifier))
    candidates = [candidate(text) for text in TEXTS]
    small, large = (values(SequenceClassifier(model=ref, token_budget=n), candidates) for n in (1, 10_000))
    assert small == pytest.approx(large, abs=1e-4)


def test_likelihood_is_the_mean_or_the_sum_over_tokens(llama: Path) -> None:
    ref = ModelRef(uri=str(llama))
    mean, total = (values(Likelihood(model=ref, normalise=n), [candidate("1234")])[0] for n in (True, False))
    assert total == pytest.approx(mean * 5)  # four bytes and the end of turn


def test_overlong_response_is_an_error_and_the_others_are_scored(llama: Path, classifier: Path) -> None:
    for reward in (Likelihood(model=ModelRef(uri=str(llama))), SequenceClassifier(model=ModelRef(uri=str(classifier)))):
        with reward.open("", Placement()) as scorer:
            short, long = scorer.score([candidate("7"), candidate("x" * 300)])
        assert (short.outcome, long.outcome, long.value) == (Outcome.NOT_APPLICABLE, Outcome.ERROR, None)
        assert "over the 256" in str(long.detail)


def test_checkpoint_without_a_trained_score_head_is_refused(llama: Path) -> None:
    """A language model loads as a classifier with a random head; its scores would mean nothing."""
    reward = SequenceClassifier(model=ModelRef(uri=str(llama)))
    with pytest.raises(ConfigError, match=r"no trained score head: score\.weight"), reward.open("", Placement()):
        pass


def test_classifier_with_several_labels_is_refused(tmp_path: Path) -> None:
    from transformers import LlamaForSequenceClassification

    folder = make_pico_classifier(tmp_path / "two")
    LlamaForSequenceClassification.from_pretrained(folder, num_labels=2, ignore_mismatched_sizes=True).save_pretrained(
        folder
    )
    reward = SequenceClassifier(model=ModelRef(uri=str(folder)))
    with pytest.raises(ConfigError, match="scores 2 labels"), reward.open("", Placement()):
        pass


def test_model_without_pad_token_reads_its_true_last_token(classifier: Path, tmp_path: Path) -> None:
    """Without a pad id the library cannot find the last token of a padded row and refuses batches."""
    import json
    import shutil

    folder = shutil.copytree(classifier, tmp_path / "no_pad")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    candidates = [candidate(text) for text in TEXTS]
    padded, unpadded = (
        values(SequenceClassifier(model=ModelRef(uri=str(f))), candidates) for f in (classifier, folder)
    )
    assert padded == pytest.approx(unpadded, abs=1e-4)


def test_scores_are_finer_than_bfloat16(classifier: Path) -> None:
    import torch

    reward = SequenceClassifier(model=ModelRef(uri=str(classifier)), precision=Precision.BFLOAT16)
    found = values(reward, [candidate(text) for text in TEXTS])
    assert any(float(torch.tensor(value).bfloat16()) != value for value in found)
    exact = values(SequenceClassifier(model=ModelRef(uri=str(classifier))), [candidate(text) for text in TEXTS])
    assert found == pytest.approx(exact, abs=0.05)


@pytest.mark.parametrize("reward", [Likelihood, SequenceClassifier])
def test_model_enters_identity_by_its_files(reward: type[Reward], llama: Path, tmp_path: Path) -> None:
    import shutil

    from fusion.fingerprint import fingerprint

    prints = []
    for folder in (llama, shutil.copytree(llama, tmp_path / "copy"), make_pico_llama(tmp_path / "other", seed=1)):
        one = reward(model=ModelRef(uri=str(folder)))  # type: ignore[call-arg]
        one.resolve()
        prints.append(fingerprint(one))
    assert prints[0] == prints[1] != prints[2]
