"""The mathematics verifier, in its real child process."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fusion.rewards.base import Score, Scorer
from fusion.rewards.math_answer import MathAnswer
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate

CASES = [
    # gold, reply, outcome
    ("7", "The sum of 3 and 4 is 7.", Outcome.PASS),
    ("7", "The sum of 3 and 4 is 8.", Outcome.FAIL),
    (r"\frac{1}{2}", "so the probability is 0.5.", Outcome.PASS),
    (r"\frac{1}{2}", r"Thus $x = \boxed{\dfrac{1}{2}}$.", Outcome.PASS),
    ("1,000", "It costs $1000 in all.", Outcome.PASS),
    ("She has 2 + 70 = 72.\n#### 72", "Answer: 72", Outcome.PASS),  # a gold solution of GSM8K
    ("7", "I do not know.", Outcome.FAIL),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}", Outcome.PASS),
    (
        r"\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix}",
        r"\boxed{\begin{pmatrix}-\frac13\\\frac23\end{pmatrix}}",
        Outcome.PASS,
    ),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\boxed{\begin{bmatrix}1&2\\3&4\end{bmatrix}}", Outcome.PASS),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\boxed{\begin{bmatrix}1&2\\3&5\end{bmatrix}}", Outcome.FAIL),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\boxed{\begin{pmatrix} 1 & 2 \end{pmatrix}}", Outcome.FAIL),
    ("2k", r"\boxed{2}", Outcome.FAIL),
    ("2k", r"\boxed{k \cdot 2}", Outcome.PASS),
    ("5m", r"\boxed{5}", Outcome.PASS),
    (None, "7", Outcome.NOT_APPLICABLE),
    ('{"answer": "7", "metadata": {}, "reasoning_gym": "gcd"}', "7", Outcome.NOT_APPLICABLE),
]


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    with MathAnswer(deadline_s=20).open("", Placement()) as scorer:
        yield scorer


@pytest.mark.parametrize(("gold", "reply", "outcome"), CASES)
def test_verdict(scorer: Scorer, gold: str | None, reply: str, outcome: Outcome) -> None:
    assert scorer.score([candidate(reply, gold)])[0].outcome == outcome


def test_verdict_off_the_main_thread_is_the_same(scorer: Scorer) -> None:
    """math-verify sets alarms; called on a worker thread it would fail every answer."""
    results: list[Score] = []
    thread = threading.Thread(target=lambda: results.extend(scorer.score([candidate("It is 7.", "7")])))
    thread.start()
    thread.join()
    assert results == [Score(Outcome.PASS, 1.0)]


def test_endless_expression_is_a_timeout_and_the_next_answer_is_verified() -> None:
    with MathAnswer(deadline_s=3.0).open("", Placement()) as scorer:
        scores = scorer.score([candidate(r"$\boxed{9^{9^{9^{9}}}}$", "7"), candidate("It is 7.", "7")])
    assert scores[0].outcome in (Outcome.TIMEOUT, Outcome.ERROR)
    assert scores[1].outcome == Outcome.PASS


def test_other_domains_are_left_alone_when_domains_are_named() -> None:
    with MathAnswer(domains=["math"]).open("", Placement()) as scorer:
        assert scorer.score([candidate("7", "7", domain="chat")])[0].outcome == Outcome.NOT_APPLICABLE
