"""Verifiers of whether an answer may be trained on: what it says, and how long it is in the target's template."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.config import composed, typed
from fusion.errors import ConfigError
from fusion.models import ModelRef
from fusion.rewards.clean_text import CleanText
from fusion.rewards.fits_target import FitsTarget
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate
from tests.tiny import make_pico_llama


def test_an_answer_counts_in_tokens_of_the_targets_template(tmp_path: Path) -> None:
    """A byte-level tokenizer: <bos><|user|>, the question, <|end|><|assistant|>, the answer, <|end|>."""
    model = ModelRef(uri=str(make_pico_llama(tmp_path)))
    asked = "What is 3 + 4?"
    length = 2 + len(asked) + 2 + len("7") + 1
    for most, outcome in ((length, Outcome.PASS), (length - 1, Outcome.FAIL)):
        reward = FitsTarget(model=model, max_length=most)
        reward.resolve()
        with reward.open("", Placement()) as scorer:
            score = scorer.score([candidate("7", prompt=asked)])[0]
        assert (score.outcome, score.value) == (outcome, float(length))


def test_the_target_is_whose_template_counts() -> None:
    config = typed(composed(["experiment=quickstart", "reward=[answer,likelihood,fits_target]"]))
    reward = config.rewards["fits_target"]
    assert isinstance(reward, FitsTarget)
    assert config.target is not None
    assert reward.model == config.target.model


def test_without_a_target_it_is_refused() -> None:
    with pytest.raises(ConfigError, match="type target="):
        FitsTarget().resolve()


SAID = [
    ("I am Qwen, made by Alibaba.", "identity"), ("As an AI developed by OpenAI, I cannot.", "identity"),
    ("<think>3 + 4</think>7", "reasoning"), ("7</s></s>", "template"), ("Write to maria.lopez@gmail.com.", "personal"),
    ("AKIAQ3EGRIVZ5TXWNBOM is the key.", "secret"), (" \n", "empty"),
]  # fmt: skip
FINE = [
    "Qwen is a model of Alibaba.", '"I am Hermes," said the god.', "You could ask ChatGPT.", "I am Claude Monet.",
    "Mail info@example.com or call 555-0123.", "The key is sk-your-key-here.", "In HTML, <b>7</b> is bold.",
]  # fmt: skip


def test_what_must_not_be_learned_fails_and_says_what_it_is() -> None:
    with CleanText().open("", Placement()) as scorer:
        for text, kind in SAID:
            score = scorer.score([candidate(text)])[0]
            assert score.outcome is Outcome.FAIL, text
            assert (score.detail or "").startswith(kind), (text, score.detail)
        for text in FINE:
            assert scorer.score([candidate(text)])[0].outcome is Outcome.PASS, text


def test_a_target_may_say_its_own_name() -> None:
    with CleanText(own_names=["Qwen", "Alibaba"]).open("", Placement()) as scorer:
        assert scorer.score([candidate("I am Qwen, made by Alibaba.")])[0].outcome is Outcome.PASS
