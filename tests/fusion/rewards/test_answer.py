"""The reasoning-gym verifier, in its real child process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fusion.prompts.base import RawPrompt
from fusion.prompts.reasoning_gym import ReasoningGym
from fusion.rewards.answer import Answer
from fusion.rewards.base import Score, Scorer
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate

SETTINGS: dict[str, dict[str, object]] = {
    "letter_counting": {"min_words": 2, "max_words": 3},
    "products": {"min_digits": 1, "max_digits": 1},
    "gcd": {"max_value": 30},
    "chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
    "simple_equations": {"min_terms": 2, "max_terms": 2, "max_value": 9},
    "spell_backward": {"min_word_len": 3, "max_word_len": 4},
    "countdown": {},
}


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    with Answer().open("", Placement()) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def prompts() -> list[RawPrompt]:
    return list(ReasoningGym(tasks=SETTINGS, per_task=5).read())


def score(scorer: Scorer, prompt: RawPrompt, text: str) -> Score:
    return scorer.score([candidate(text, prompt.reference, prompt.messages[0]["content"], prompt.domain)])[0]


def answer_of(prompt: RawPrompt) -> str:
    from fusion.prompts.reasoning_gym import parsed_reference

    entry = parsed_reference(prompt.reference)
    assert entry is not None
    return str(entry["answer"])


def test_right_answer_of_every_task_passes(scorer: Scorer, prompts: list[RawPrompt]) -> None:
    for prompt in prompts:
        assert score(scorer, prompt, f"The answer is {answer_of(prompt)}").outcome == Outcome.PASS, prompt


def test_wrong_number_fails_and_says_why(scorer: Scorer, prompts: list[RawPrompt]) -> None:
    prompt = next(p for p in prompts if p.domain == "gcd")
    assert score(scorer, prompt, "The GCD of these is 999.") == Score(
        Outcome.FAIL, 0.0, f"answered 999, expected {answer_of(prompt)}"
    )


def test_other_way_to_the_goal_passes(scorer: Scorer, prompts: list[RawPrompt]) -> None:
    """The library verifies, we do not compare strings: any expression that reaches the target will do."""
    prompt = next(p for p in prompts if p.domain == "countdown")
    assert score(scorer, prompt, f"<answer>({answer_of(prompt)})</answer>").outcome == Outcome.PASS


def test_missing_answer_fails(scorer: Scorer, prompts: list[RawPrompt]) -> None:
    result = score(scorer, prompts[0], "I do not know.")
    assert result.outcome == Outcome.FAIL
    assert result.detail is not None
    assert result.detail.startswith("no answer found")


@pytest.mark.parametrize("reference", [None, "7", '{"tests": []}', '{"answer": "7"}'])
def test_prompt_of_another_kind_is_not_applicable(scorer: Scorer, reference: str | None) -> None:
    result = scorer.score([candidate("7", reference)])[0]
    assert (result.outcome, result.value) == (Outcome.NOT_APPLICABLE, None)


def test_unknown_task_family_is_an_error_not_a_fail(scorer: Scorer) -> None:
    reference = '{"answer": "7", "metadata": {}, "reasoning_gym": "no_such_task"}'
    result = scorer.score([candidate("7", reference)])[0]
    assert (result.outcome, result.value) == (Outcome.ERROR, None)
