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


def with_labels(folder: Path, names: list[str]) -> Path:
    """A pico classifier whose head has these labels."""
    from transformers import LlamaForSequenceClassification

    make_pico_classifier(folder)
    model = LlamaForSequenceClassification.from_pretrained(
        folder, id2label=dict(enumerate(names)), ignore_mismatched_sizes=True
    )
    model.save_pretrained(folder)
    return folder


def changed(folder: Path, target: Path, name: str, shape: tuple[int, ...]) -> Path:
    """A copy of a model folder with one more, or one other, tensor of ones."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    file = target / "model.safetensors"
    save_file(load_file(file) | {name: torch.ones(shape)}, file, {"format": "pt"})
    return target


def test_classifier_with_several_labels_needs_the_name_of_one(tmp_path: Path) -> None:
    ref = ModelRef(uri=str(with_labels(tmp_path, ["harmful", "helpful"])))
    listed = "set rewards.sequence_classifier.label to one of 0: harmful, 1: helpful"
    for label, problem in (("", "scores 2 labels and none is named"), ("polite", "has no label 'polite'")):
        with (
            pytest.raises(ConfigError, match=f"{problem}; {listed}"),
            SequenceClassifier(model=ref, label=label).open("", Placement()),
        ):
            pass
    candidates = [candidate(text) for text in TEXTS]
    harmful, helpful, second = (
        values(SequenceClassifier(model=ref, label=label), candidates) for label in ("harmful", "helpful", "1")
    )
    assert helpful == second != harmful


def test_checkpoint_with_more_than_a_generic_head_is_refused(classifier: Path, tmp_path: Path) -> None:
    folder = changed(classifier, tmp_path / "more", "score_bias.weight", (1,))
    reward = SequenceClassifier(model=ModelRef(uri=str(folder)))
    with (
        pytest.raises(ConfigError, match=r"holds score_bias\.weight \(1 in all\), which"),
        reward.open("", Placement()),
    ):
        pass


def test_language_head_beside_the_score_is_no_obstacle(classifier: Path, tmp_path: Path) -> None:
    folder = changed(classifier, tmp_path / "lm", "lm_head.weight", (262, 32))
    scores = [values(SequenceClassifier(model=ModelRef(uri=str(f))), [candidate("7")]) for f in (classifier, folder)]
    assert scores[0] == scores[1]


def test_head_of_another_shape_than_the_config_is_refused(classifier: Path, tmp_path: Path) -> None:
    folder = changed(classifier, tmp_path / "wide", "score.weight", (3, 32))
    reward = SequenceClassifier(model=ModelRef(uri=str(folder)))
    with (
        pytest.raises(ConfigError, match=r"score\.weight in its files has another shape"),
        reward.open("", Placement()),
    ):
        pass


def test_padding_on_the_left_gives_the_same(classifier: Path) -> None:
    candidates = [candidate(text) for text in TEXTS]
    with SequenceClassifier(model=ModelRef(uri=str(classifier))).open("", Placement()) as scorer:
        right = [score.value for score in scorer.score(candidates)]
        scorer.padding_side = "left"  # type: ignore[attr-defined]
        assert [score.value for score in scorer.score(candidates)] == pytest.approx(right, abs=1e-4)


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
