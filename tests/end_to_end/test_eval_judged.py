"""`fusion eval` on judged benchmarks: the judge is an HTTP server, every request of which is counted and read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fusion.stages.benchmark import SECOND
from tests.end_to_end.judged import (
    BASELINE,
    JUDGED,
    NUM,
    REQUESTS,
    evaluate,
    favour,
    is_strong,
    make_judged,
    mark,
    opinion,
    settings,
)
from tests.endpoint_server import Server, serving
from tests.taught_judge import teach_judge

PLAIN = ["benchmarks.alpaca_eval2.metric=value", "benchmarks.arena_hard.metric=win_rate"]
Rows = dict[str, dict[str, object]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(opinion) as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_judged(tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="module")
def first(server: Server, folder: Path) -> Rows:
    """The evaluation of all four; what the server was asked stays in `server.asked`."""
    return evaluate(folder, [*settings(folder, server.url, *JUDGED), *PLAIN])


def answers(folder: Path, label: str, store: str = "store") -> list[str]:
    """Texts of the step `responses/LABEL`."""
    files = sorted(folder.glob(f"{store}/responses/{label}-*/parts/*.parquet"))
    assert files, label
    return [text for file in files for text in pq.read_table(file)["text"].to_pylist()]


def pairs(folder: Path, name: str) -> list[tuple[str, str]]:
    """(the model's answer, the baseline's) of each item, read from what the judge was to be shown."""
    found = pq.read_table(sorted(folder.glob(f"store/prompts/{name}-*/parts/*.parquet")))
    ids = {row["prompt_id"]: row["messages"][0]["content"] for row in found.to_pylist()}
    rows = pq.read_table(sorted(folder.glob(f"store/responses/{name}-base-*/parts/*.parquet"))).to_pylist()
    number = {row["prompt_id"]: re.findall(r"\d+", ids[row["prompt_id"]])[0] for row in rows}
    return [(row["text"], f"{BASELINE} {number[row['prompt_id']]}") for row in rows]


def asked_with(server: Server, start: int = 0, **wanted: str) -> list[str]:
    return [str(body["messages"][0]["content"]) for body in server.asked[start:]]


def test_every_pair_is_asked_in_both_orders_and_every_turn_once(first: Rows, server: Server) -> None:
    assert {name: row["n"] for name, row in first.items()} == NUM
    assert all(row["undecided"] == 0 for row in first.values())
    kinds = Counter(_kind(str(body["messages"][0]["content"])) for body in server.asked[: sum(REQUESTS.values())])
    assert kinds == REQUESTS
    for name in ("alpaca_eval2", "arena_hard"):
        texts = [text for text in asked_with(server) if _kind(text) == name][: REQUESTS[name]]
        shown = Counter("ab"["<answer_b>\n" + BASELINE in text] for text in texts)
        assert shown == {"a": NUM[name], "b": NUM[name]}, name


def test_alpaca_eval_weighs_by_the_judges_probabilities(first: Rows, folder: Path, server: Server) -> None:
    found = [(favour(a, b, True) + favour(a, b, False)) / 2 for a, b in pairs(folder, "alpaca_eval2")]
    assert len(found) == 6
    assert first["alpaca_eval2"]["score"] == pytest.approx(sum(found) / 6, abs=1e-6)
    weighted = [body for body in server.asked if body.get("logprobs")]
    assert {_kind(str(body["messages"][0]["content"])) for body in weighted} == {"alpaca_eval2"}
    assert {body["top_logprobs"] for body in weighted} == {20}


def test_arena_hard_counts_the_games_of_both_orders_and_a_strong_verdict_three_times(
    first: Rows, folder: Path, server: Server
) -> None:
    games = []
    for answer, baseline in pairs(folder, "arena_hard"):
        for is_first in (True, False):
            p = favour(answer, baseline, is_first)
            games += [float(p > 0.5)] * (3 if is_strong(p) else 1)
    assert 10 < len(games) < 30  # both kinds of verdicts came
    assert first["arena_hard"]["score"] == pytest.approx(sum(games) / len(games), abs=1e-3)  # a small ridge
    asked = [body for body in server.asked if _kind(str(body["messages"][0]["content"])) == "arena_hard"]
    assert {body["max_tokens"] for body in asked} == {4096}


def test_mt_bench_is_the_mean_mark_of_both_turns_with_the_conversation_shown(
    first: Rows, folder: Path, server: Server
) -> None:
    marks = [mark(text) for turn in ("", SECOND) for text in answers(folder, f"mt_bench-base{turn}")]
    assert len(marks) == 8
    assert first["mt_bench"]["score"] == pytest.approx(sum(marks) / 8)
    shown = [text for text in asked_with(server) if _kind(text) == "mt_bench"][:8]
    second = [text for text in shown if "And more?" in text]
    assert len(second) == 4
    assert all("[assistant]" in text for text in second)
    assert sum("first gold" in text for text in shown) == sum("second gold" in text for text in shown) == 1


def test_alignbench_shows_the_reference(first: Rows, folder: Path, server: Server) -> None:
    marks = [mark(text) for text in answers(folder, "alignbench-base")]
    assert first["alignbench"]["score"] == pytest.approx(sum(marks) / 3)
    assert all("gold" in text for text in asked_with(server) if _kind(text) == "alignbench")


def test_control_of_length_and_style_needs_no_further_judgement(first: Rows, folder: Path, server: Server) -> None:
    before = len(server.asked)
    rows = evaluate(folder, settings(folder, server.url, "alpaca_eval2", "arena_hard"))
    assert len(server.asked) == before
    assert all(0 < row["low"] <= row["score"] <= row["high"] < 1 for row in rows.values())  # type: ignore[operator]


def test_neither_a_second_run_nor_a_new_store_asks_again(first: Rows, folder: Path, server: Server) -> None:
    before = len(server.asked)
    assert evaluate(folder, [*settings(folder, server.url, *JUDGED), *PLAIN]) == first
    elsewhere = [*settings(folder, server.url, *JUDGED, store="other", runs="others"), *PLAIN]
    assert evaluate(folder, elsewhere, "others") == first
    assert len(server.asked) == before


@pytest.mark.parametrize(
    ("change", "num_asked"),
    [
        ("reward.template={folder}/mine.jinja", 3),
        ("reward.revision=2", 3),
        ("reward.max_new_tokens=100", 3),
        ("sampling.max_new_tokens=7", 3),  # other answers
        ("reward.endpoint.concurrency=1", 0),
    ],
)
def test_other_words_another_judge_or_other_answers_ask_again(
    change: str, num_asked: int, first: Rows, folder: Path, server: Server
) -> None:
    mine = "{% for m in messages %}{{ m.content }}{% endfor %}\n<answer>\n{{ answer }}\n</answer>\n[[]]?"
    (folder / "mine.jinja").write_text(mine)
    before = len(server.asked)
    chosen = [one for one in settings(folder, server.url, "alignbench") if not one.endswith(change.partition("=")[0])]
    evaluate(folder, [*chosen, f"benchmarks.alignbench.{change.format(folder=folder)}"])
    assert len(server.asked) - before == num_asked


def test_repeats_ask_as_often_and_their_mean_counts(first: Rows, folder: Path, server: Server) -> None:
    """A judge that says 2, 3, 4, ... in turn: nine judgements, whose mean is the score."""
    said = iter(range(2, 11))
    server.answer = lambda path, body: opinion(path, body) | _said(next(said))
    repeated = ["benchmarks.alignbench.reward.repeats=3", "benchmarks.alignbench.reward.temperature=0.7"]
    before = len(server.asked)
    try:
        rows = evaluate(folder, [*settings(folder, server.url, "alignbench"), *repeated])
    finally:
        server.answer = opinion
    assert len(server.asked) - before == 9
    assert rows["alignbench"]["score"] == pytest.approx(sum(range(2, 11)) / 9)
    evaluate(folder, [*settings(folder, server.url, "alignbench", store="again"), *repeated])
    assert len(server.asked) - before == 9


def test_a_spent_budget_leaves_rows_undecided_and_a_larger_one_asks_for_those_only(
    first: Rows, folder: Path, server: Server
) -> None:
    places = {"cache": "poor_cache", "store": "poor", "runs": "poor_runs"}
    chosen = [one for one in settings(folder, server.url, "alpaca_eval2", **places) if "budget" not in one]
    chosen += [*PLAIN[:1], f"benchmarks.alpaca_eval2.reward.budget.ledger={folder}/poor_ledger"]
    before = len(server.asked)
    poor = evaluate(folder, [*chosen, "benchmarks.alpaca_eval2.reward.budget.max_requests=5"], "poor_runs")
    assert len(server.asked) - before == 5
    assert poor["alpaca_eval2"]["undecided"] >= 3
    rich = evaluate(folder, [*chosen, "benchmarks.alpaca_eval2.reward.budget.max_requests=12"], "poor_runs")
    assert len(server.asked) - before == 12
    assert rich["alpaca_eval2"]["score"] == first["alpaca_eval2"]["score"]
    assert rich["alpaca_eval2"]["undecided"] == 0


def _said(number: int) -> dict[str, object]:
    message = {"role": "assistant", "content": f"[[{number}]]"}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _kind(text: str) -> str:
    """Whose template it is."""
    begins = {
        "You rank answers": "alpaca_eval2", "You judge which": "arena_hard", "You judge the last": "mt_bench",
        "请你作为公正的评审": "alignbench",
    }  # fmt: skip
    return next((name for start, name in begins.items() if text.startswith(start)), "another")


def test_a_model_that_runs_here_judges_instead(first: Rows, folder: Path) -> None:
    """A tiny model that was taught to give verdicts: a new store asks it nothing, and another template asks all again.
    What its verdicts weigh is checked in tests/fusion/rewards/test_local_judge.py."""
    judge = teach_judge(folder / "judge", {"A": 0.75, "B": 0.25})
    local = ["reward@benchmarks.alpaca_eval2.reward=local_judge", "benchmarks.alpaca_eval2.reward.max_new_tokens=8"]
    local += [f"benchmarks.alpaca_eval2.reward.model.uri={judge}", *PLAIN[:1]]

    def evaluated(store: str, *more: str) -> dict[str, object]:
        chosen = settings(folder, "", "alpaca_eval2", store=store, cache="own_cache", runs="own_runs")
        return evaluate(folder, [*chosen, *local, *more], "own_runs")["alpaca_eval2"]

    def judgements() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (folder / "own_cache").rglob("*.json")}

    row, files = evaluated("own"), judgements()
    assert (row["n"], row["undecided"]) == (6, 0)
    assert len(files) >= REQUESTS["alpaca_eval2"]
    assert 0 < row["score"] < 1  # type: ignore[operator]
    assert evaluated("own_again") == row
    assert judgements() == files
    evaluated("own", "benchmarks.alpaca_eval2.reward.template=pairwise")
    assert len(judgements()) >= len(files) + REQUESTS["alpaca_eval2"]
