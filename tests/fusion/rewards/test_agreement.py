"""Verifiers against the labels that come with public answers of many models; docs/agreement.md says where they differ.

Code and checkable instructions have theirs in `test_code_tests` and `test_instruction_checks`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fusion.rewards.base import Candidate, Reward, Score
from fusion.rewards.choice_answer import ChoiceAnswer
from fusion.rewards.literal_answer import LiteralAnswer
from fusion.rewards.math_answer import MathAnswer
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate
from tests.shared_data import shared_data

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    with gzip.open(shared_data(name), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def judged(reward: Reward, answers: list[Row], domain: str) -> Iterator[tuple[Row, Score]]:
    asked: list[Candidate] = [candidate(row["response"], row["gold"], domain=domain) for row in answers]
    with reward.open("", Placement()) as scorer:
        yield from zip(answers, scorer.score(asked), strict=True)


def disagreements(reward: Reward, answers: list[Row], domain: str, label: str) -> list[tuple[Row, Score]]:
    """Rows whose label and verdict differ; a verdict that is neither pass nor fail differs from both."""
    return [
        (row, score)
        for row, score in judged(reward, answers, domain)
        if score.outcome != (Outcome.PASS if row[label] else Outcome.FAIL)
    ]


SETS: list[tuple[str, Callable[[], Reward], str, float]] = [
    ("math/gsm8k_multi_source.jsonl.gz", MathAnswer, "math", 0.995),
    ("code/crux_multi_source.jsonl.gz", lambda: LiteralAnswer(domains=["crux"]), "crux", 0.995),
    ("mc/mmlu_pro_multi_source.jsonl.gz", ChoiceAnswer, "mmlu_pro", 0.99),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "reward", "domain", "least"), SETS, ids=[name for name, *_ in SETS])
def test_verdicts_agree_with_the_labels(name: str, reward: Callable[[], Reward], domain: str, least: float) -> None:
    answers = rows(name)
    differ = disagreements(reward(), answers, domain, "is_correct")
    assert len(differ) <= (1 - least) * len(answers), [(row["source"], row["gold"], score) for row, score in differ]


@pytest.mark.slow
def test_an_option_chosen_by_no_one_is_not_guessed() -> None:
    """Where the label says right and the verdict wrong, the reply states no letter or several."""
    differ = disagreements(ChoiceAnswer(), rows("mc/mmlu_pro_multi_source.jsonl.gz"), "mmlu_pro", "is_correct")
    lost = [score.detail or "" for row, score in differ if row["is_correct"]]
    assert lost
    assert all(detail.startswith("no answer found") for detail in lost)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_level_5_answers_that_match_as_text_pass_unless_they_give_several() -> None:
    """Plain string match is a lower bound: what it accepts must pass, and what passes beyond it is 1 to 2%.

    Undecided are formulas that no parser takes ("a + b + c + d", "2√[8]{3}") and an endless row of zeros.
    """
    answers = rows("math/math_l5_multi_source.jsonl.gz")
    differ = disagreements(MathAnswer(deadline_s=20), answers, "math", "is_correct_simple")
    lost = [row for row, score in differ if row["is_correct_simple"]]
    assert all("," in row["parsed"] for row in lost), [row["parsed"] for row in lost]
    assert len(lost) <= 5
    won = [row for row, score in differ if score.outcome is Outcome.PASS]
    assert 0.01 * len(answers) < len(won) < 0.02 * len(answers)
    undecided = [score for _, score in differ if score.outcome not in (Outcome.PASS, Outcome.FAIL)]
    assert len(undecided) <= 0.002 * len(answers), undecided


CASES = [
    # gold, reply, outcome
    ("221_3", r"\boxed{221_4}", Outcome.FAIL),
    ("221_3", r"\boxed{221}", Outcome.PASS),  # the question names the base
    ("221_3", r"\boxed{25_{10}}", Outcome.PASS),
    (r"5\text{ cm}", r"\boxed{5\text{ m}}", Outcome.FAIL),
    ("60 cents", r"The answer is 0.6 dollars.", Outcome.PASS),
    ("5 cm", "5 kg", Outcome.FAIL),
    ("12", "The answer is 12, not 13.", Outcome.PASS),
    ("13", "The answer is 12, not 13.", Outcome.FAIL),
    ("3", "Step 1: we have 3. I do not know the rest.", Outcome.FAIL),
    ("8", "<think>maybe 8</think>", Outcome.FAIL),
    ("8", "<think>perhaps it is 9</think>It is 8.", Outcome.PASS),
    (r"\emptyset", r"\boxed{\varnothing}", Outcome.PASS),
    ("[1,2)", r"\boxed{(1,2]}", Outcome.FAIL),
    ("52", r"\boxed{436, 52}", Outcome.FAIL),
    (r"\pm 5", r"\boxed{5}", Outcome.FAIL),
    ("25", '{"answer": "0.25"}', Outcome.FAIL),
    ("0.25", '{"answer": "25%"}', Outcome.PASS),
    (r"\frac{1}{3}", r"\boxed{0.33}", Outcome.FAIL),
    (r"\frac12", r"\boxed{\unknowncommand{3}}", Outcome.ERROR),  # what cannot be read is not wrong
    ('["1/2", "3"]', r"\boxed{\unknowncommand{3}}", Outcome.ERROR),
    (r"\frac12", r"\boxed{\text{cannot be determined}}", Outcome.FAIL),
    ("5", "The answer is undefined.", Outcome.FAIL),
]


def test_mathematics_is_read_strictly() -> None:
    with MathAnswer().open("", Placement()) as scorer:
        for gold, reply, outcome in CASES:
            assert scorer.score([candidate(reply, gold)])[0].outcome == outcome, (gold, reply)


def test_a_list_of_the_options_is_no_choice() -> None:
    with ChoiceAnswer().open("", Placement()) as scorer:
        listed = scorer.score([candidate("Now the correct answer:\n\nA. $124\nB. $120\nC. $130", "A")])[0]
        chosen = scorer.score([candidate("The correct answer is:\n\nA. $124", "A")])[0]
    assert (listed.outcome, chosen.outcome) == (Outcome.FAIL, Outcome.PASS)


@pytest.mark.parametrize(
    ("reference", "domain", "mine"),
    [
        ("['a', 1]", "crux", True), ("18", "crux", True), ("18", "reasoning", False), ("'abc'", "reasoning", True),
        ("[1, 2]", "reasoning", False), ('["assert f(1) == 1"]', "code", False), ("assert f(1) == 1", "code", False),
        ('{"tests": "assert f(1)"}', "code", False), ('{"answer": "B", "options": ["x", "y"]}', "code", False),
    ],
)  # fmt: skip
def test_a_reference_has_one_verifier(reference: str, domain: str, mine: bool) -> None:
    """Side by side, mathematics and literals judge no prompt both."""
    programs = ["code", "crux"]
    asked = [candidate("7", reference, domain=domain)]
    with LiteralAnswer(programs=programs).open("", Placement()) as scorer:
        assert (scorer.score(asked)[0].outcome is not Outcome.NOT_APPLICABLE) == mine
    if mine:
        with MathAnswer(leaves_others=True, programs=programs).open("", Placement()) as scorer:
            assert scorer.score(asked)[0].outcome is Outcome.NOT_APPLICABLE
