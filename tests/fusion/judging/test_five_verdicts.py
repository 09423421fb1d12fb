"""Arena-Hard's five verdicts, asked of a loopback endpoint whose opinions are known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.fingerprint import canonical, fingerprint
from fusion.judging.judging import Mode
from fusion.judging.verdict import Verdicts
from fusion.rewards.judge import Judge
from fusion.schema import Outcome
from fusion.step import Placement
from tests.endpoint_server import Body, Server, chat, serving
from tests.fusion.rewards.candidates import candidate
from tests.fusion.rewards.test_judge import changed, made, scores

FIVE = {"mode": Mode.PAIRWISE, "verdicts": Verdicts.FIVE}


def opinion(path: str, body: Body) -> Body:
    """The longer answer is better, much better from four characters on; "torn" wins slightly where it is shown first,
    and loses by far where it is second."""
    asked = body["messages"][0]["content"]
    first, second = (re.search(rf"<answer_{name}>\n(.*?)\n</answer_{name}>", asked, re.S)[1] for name in "ab")  # type: ignore[index]
    gap = len(first) - len(second)
    sign = "=" if gap == 0 else ">>" if abs(gap) >= 4 else ">"
    if "torn" in asked:
        return chat("So [[A>B]]" if first == "torn" else "So [[A>>B]]")
    return chat(f"So [[{'A' if gap >= 0 else 'B'}{sign}{'B' if gap >= 0 else 'A'}]]")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(opinion) as running:
        yield running


@pytest.fixture
def judge(server: Server, tmp_path: Path) -> Judge:
    return made(server.url, tmp_path, **FIVE)


def test_both_orders_are_asked_for_one_of_five_marks(judge: Judge, server: Server) -> None:
    scores(judge, candidate("longer", "base"))
    assert len(server.asked) == 2
    for body in server.asked:
        assert all(f"[[{mark}]]" in body["messages"][0]["content"] for mark in ("A>>B", "A>B", "A=B", "B>A", "B>>A"))


@pytest.mark.parametrize(
    ("answer", "value", "detail"),
    [
        ("much longer", 1.0, "first: strong win, second: strong win; games 3"),
        ("longer", 1.0, "first: win, second: win"),
        ("same", 0.5, "first: tie, second: tie"),
        ("us", 0.0, "first: loss, second: loss"),
        ("", 0.0, "first: strong loss, second: strong loss; games 3"),
        # One game won, three lost: neither a tie nor a mean of two.
        ("torn", 0.25, "first: win, second: strong loss; the orders disagree; games 2"),
    ],
)
def test_each_order_is_games_of_its_own(answer: str, value: float, detail: str, judge: Judge) -> None:
    (found,) = scores(judge, candidate(answer, "base"))
    assert (found.outcome, found.value, found.detail) == (Outcome.NOT_APPLICABLE, value, detail)


def test_a_mark_of_three_is_no_verdict_here(judge: Judge, server: Server) -> None:
    server.answer = lambda path, body: chat("[[A]]")
    (found,) = scores(judge, candidate("longer", "base"))
    assert (found.outcome, found.value) == (Outcome.ERROR, None)
    assert "the verdict 'A' is none of A>>B, A>B, A=B, B>A, B>>A" in str(found.detail)


def test_labelled_pairs_can_be_compared(judge: Judge) -> None:
    with judge.open("", Placement()) as scorer:
        assert scorer.compare([{"role": "user", "content": "q"}], "longer", "short answer") == (0.0, 0.0)


def test_repeats_are_more_games(judge: Judge, server: Server) -> None:
    """Shown first: a slight win, then a strong one, so four games won in two judgements; second: two slight losses."""
    said = {"first": iter(["[[A>B]]", "[[A>>B]]"]), "second": iter(["[[A>B]]", "[[A>B]]"])}

    def in_turn(path: str, body: Body) -> Body:
        is_first = "<answer_a>\nours" in body["messages"][0]["content"]
        return chat(next(said["first" if is_first else "second"]))

    server.answer = in_turn
    (found,) = scores(changed(judge, repeats=2, temperature=0.7), candidate("ours", "base"))
    assert found.value == pytest.approx(4 / 6)  # two games an order on average, and one: 2 won of 3
    assert found.detail == "first: 1.000, second: loss; the orders disagree; games 1.5"


def test_three_verdicts_are_what_they_were(judge: Judge) -> None:
    three = changed(judge, verdicts=Verdicts.THREE)
    assert "verdicts" not in canonical(three)  # type: ignore[operator]
    assert canonical(judge)["verdicts"] == "five"  # type: ignore[index]
    assert fingerprint(three) != fingerprint(judge)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": Mode.POINTWISE}, "verdicts must be THREE unless mode=PAIRWISE"),
        ({"weighted": True}, "verdicts must be THREE unless .* weighted=false"),
        ({"template": "pairwise"}, "template pairwise asks for three verdicts.*set verdicts=THREE"),
        ({"verdicts": Verdicts.THREE, "template": "arena_hard"}, "asks for five verdicts.*set verdicts=FIVE"),
    ],
)
def test_what_cannot_be_read_is_refused_before_it_is_asked(
    settings: dict[str, object], message: str, judge: Judge, server: Server
) -> None:
    with pytest.raises(ConfigError, match=message):
        changed(judge, **settings)
    assert not server.asked
