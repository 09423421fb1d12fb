"""The judge against a loopback endpoint whose opinions are known."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fusion import registry
from fusion.endpoint_config import EndpointConfig
from fusion.errors import ConfigError, EngineError
from fusion.fingerprint import fingerprint
from fusion.judging.comparison import DISAGREE
from fusion.judging.endpoint_replies import LimitName
from fusion.judging.judge_model import REMINDER
from fusion.judging.judging import Mode
from fusion.rewards.base import Candidate, Score
from fusion.rewards.judge import Judge
from fusion.runtime import InProcess
from fusion.schema import Outcome
from fusion.spending import Budget
from fusion.stages import score
from fusion.stages.score_session import ScorePool
from fusion.step import Placement
from fusion.stored import StoredResponses
from tests.endpoint_server import Body, Fault, Server, chat, serving
from tests.fusion.rewards.candidates import candidate
from tests.fusion.stages.test_score import prompts, responses, work

ROOT = Path(__file__).resolve().parents[3]


def opinion(path: str, body: Body) -> Body:
    """One answer gets its number of characters as its score; of two the one with more wins, in either place."""
    asked = body["messages"][0]["content"]
    if answer := re.search(r"<answer>\n(.*?)\n</answer>", asked, re.S):
        return chat(f"It has its length.\n[[{len(answer[1])}]]")
    first, second = (re.search(rf"<answer_{name}>\n(.*?)\n</answer_{name}>", asked, re.S)[1] for name in "ab")  # type: ignore[index]
    verdict = "C" if len(first) == len(second) else "A" if len(first) > len(second) else "B"
    return chat("hmm" if "unsure" in asked else f"So be it: [[{'A' if 'vain' in asked else verdict}]]")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(opinion) as running:
        yield running


@pytest.fixture
def judge(server: Server, tmp_path: Path) -> Judge:
    return made(server.url, tmp_path)


def made(url: str, folder: Path, **settings: Any) -> Judge:
    endpoint = EndpointConfig(url=url, model="m", retry_s=0.5, timeout_s=2.0, concurrency=4)
    budget = Budget(ledger=str(folder / "ledger"))
    reward = Judge(
        **{"endpoint": endpoint, "revision": "1", "budget": budget, "cache": str(folder / "cache")} | settings
    )
    reward.resolve()
    return reward


def changed(judge: Judge, **settings: Any) -> Judge:
    other = replace(judge, **settings)
    other.resolve()
    return other


def scores(judge: Judge, *candidates: Candidate) -> list[Score]:
    with judge.open("", Placement()) as scorer:
        return scorer.score(candidates)


def test_an_answer_gets_a_number_and_the_judges_words(judge: Judge, server: Server) -> None:
    found = scores(judge, candidate("four"), candidate("eighteen"))
    assert [(one.outcome, one.value) for one in found] == [(Outcome.NOT_APPLICABLE, 4.0), (Outcome.NOT_APPLICABLE, 8.0)]
    assert found[0].detail == "It has its length.\n[[4]]"
    body = next(body for body in server.asked if "eighteen" in body["messages"][0]["content"])
    assert {key: value for key, value in body.items() if key != "messages"} == {
        "model": "m", "max_tokens": 1024, "temperature": 0.0,
    }  # fmt: skip
    assert "What is 3 + 4?" in body["messages"][0]["content"]
    assert "1 (useless) to 10" in body["messages"][0]["content"]


def test_a_threshold_makes_it_a_verifier(judge: Judge) -> None:
    strict = changed(judge, pass_from=5.0)
    assert [one.outcome for one in scores(strict, candidate("four"), candidate("fives"))] == [
        Outcome.FAIL,
        Outcome.PASS,
    ]
    assert strict.is_verifier
    assert not judge.is_verifier


def test_two_answers_are_compared_in_both_orders(judge: Judge, server: Server) -> None:
    pairwise = changed(judge, mode=Mode.PAIRWISE)
    rows = [("longer", "base", 1.0), ("us", "base", 0.0), ("same", "base", 0.5), ("base", "base", 0.5)]
    found = scores(pairwise, *(candidate(text, baseline) for text, baseline, _ in rows))
    assert [one.value for one in found] == [value for _, _, value in rows]
    assert [one.detail for one in found] == [
        "first: win, second: win", "first: loss, second: loss", "first: tie, second: tie", "the answer is the baseline",
    ]  # fmt: skip
    assert len(server.asked) == 6  # nothing is asked of two equal texts
    assert not any("reference_answer" in body["messages"][0]["content"] for body in server.asked)


def test_orders_that_disagree_are_a_tie_and_say_so(judge: Judge) -> None:
    found = scores(changed(judge, mode=Mode.PAIRWISE), candidate("vain one", "base"))[0]
    assert (found.outcome, found.value) == (Outcome.NOT_APPLICABLE, 0.5)
    assert found.detail == f"first: win, second: loss; {DISAGREE}"


def test_the_baseline_may_be_another_sources_answers(judge: Judge, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    rows = [("strong", "long enough"), ("weak", "no"), ("strong", "second try")]
    lines = [{"prompt": "What is 3 + 4?", "source": source, "response": text} for source, text in rows]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for source, value in (("strong", 0.0), ("weak", 1.0)):
        against = changed(judge, mode=Mode.PAIRWISE, baseline=StoredResponses(path=str(file)), baseline_source=source)
        # A gold answer is part of the prompt's key in tables, but not of what the baseline answered.
        assert scores(against, candidate("seven", "7"))[0].value == value
        assert scores(against, candidate("seven", prompt="another"))[0].detail == "the prompt has no baseline"
    nobody = changed(judge, mode=Mode.PAIRWISE, baseline=StoredResponses(path=str(file)), baseline_source="nobody")
    with pytest.raises(ConfigError, match="no answers of 'nobody'"):
        scores(nobody, candidate("seven"))


def test_what_is_not_to_be_judged_costs_nothing(judge: Judge, server: Server) -> None:
    assert scores(changed(judge, domains=["code"]), candidate("x")) == [
        Score(Outcome.NOT_APPLICABLE, None, "domain math is not judged")
    ]
    assert scores(changed(judge, mode=Mode.PAIRWISE), candidate("x")) == [
        Score(Outcome.NOT_APPLICABLE, None, "the prompt has no baseline")
    ]
    assert not server.asked


def test_the_gold_answer_is_shown_if_it_is_wanted(judge: Judge, server: Server) -> None:
    for wanted in (True, False):
        scores(changed(judge, show_reference=wanted), candidate("seven", "the gold"))
        assert ("the gold" in server.asked[-1]["messages"][0]["content"]) == wanted


def test_a_second_run_asks_nothing(judge: Judge, server: Server) -> None:
    pairwise = changed(judge, mode=Mode.PAIRWISE)
    rows = [candidate("word " * n, "base", sample_index=n) for n in range(1, 9)]
    first = scores(pairwise, *rows)
    asked = len(server.asked)
    assert asked == 16
    assert scores(pairwise, *rows) == first
    moved = replace(pairwise.endpoint, url=server.url.replace("127.0.0.1", "localhost"), concurrency=1)
    assert scores(changed(pairwise, endpoint=moved), *rows) == first
    assert len(server.asked) == asked


def test_equal_texts_are_asked_for_once(judge: Judge, server: Server) -> None:
    found = scores(judge, *(candidate("four", sample_index=i) for i in range(5)))
    assert len({one.value for one in found}) == 1
    assert len(server.asked) == 1


CHANGES: dict[str, dict[str, Any]] = {
    "revision": {"revision": "2"},
    "temperature": {"temperature": 0.5},
    "no temperature": {"temperature": None},
    "length": {"max_new_tokens": 7},
    "range": {"high": 9.0},
    "mode": {"mode": Mode.PAIRWISE},
    "weighted": {"weighted": True},
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_a_judgement_is_asked_anew(name: str, judge: Judge, server: Server) -> None:
    scores(judge, candidate("four", "gold"))
    other = changed(judge, **CHANGES[name])
    assert fingerprint(other) != fingerprint(judge)
    scores(other, candidate("four", "gold"))
    assert len(server.asked) >= 2


def test_a_changed_template_is_another_judge(judge: Judge, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{{ messages[0].content }} <answer>\n{{ answer }}\n</answer> A number in [[]].")
    mine = changed(judge, template=str(file))
    assert scores(mine, candidate("four"))[0].value == 4.0
    assert "A number in [[]]." in server.asked[-1]["messages"][0]["content"]
    before = fingerprint(mine)
    assert before != fingerprint(judge)
    file.write_text(file.read_text() + " Please.")
    assert fingerprint(changed(mine)) != before
    (tmp_path / "moved.jinja").write_text(mine.template_text)
    assert fingerprint(changed(mine, template=str(tmp_path / "moved.jinja"))) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ messages[0].content }}", "does not show answer"),
        ("{{ answer }}", "does not show messages"),
        ("{{ messages[0].content }} {{ answer }} {{ goal }}", "does not render.*goal"),
        ("{% if %}", "does not render"),
    ],
)
def test_a_template_that_cannot_work_is_refused(text: str, message: str, judge: Judge, tmp_path: Path) -> None:
    file = tmp_path / "bad.jinja"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        changed(judge, template=str(file))
    with pytest.raises(ConfigError, match="is not there"):
        changed(judge, template=str(tmp_path / "absent.jinja"))


def test_a_spent_budget_is_an_error_and_a_larger_one_asks_for_the_rest_only(judge: Judge, server: Server) -> None:
    rows = [candidate("word" * n) for n in (1, 2)] + [candidate("x" * n) for n in (3, 5, 6, 7, 9, 10)]
    poor = changed(judge, pass_from=1.0, budget=replace(judge.budget, max_requests=5))
    found = scores(poor, *rows)
    spent = [one for one in found if one.outcome is Outcome.ERROR]
    assert len(spent) == 3
    assert all(one.value is None and str(one.detail).startswith("budget spent: 5 requests") for one in spent)
    assert [one.outcome for one in found].count(Outcome.PASS) == len(server.asked) == 5
    assert scores(poor, *rows) == found
    assert len(server.asked) == 5
    rich = changed(poor, budget=replace(judge.budget, max_requests=8))
    assert fingerprint(rich) != fingerprint(poor)
    assert [one.outcome for one in scores(rich, *rows)] == [Outcome.PASS] * 8
    assert len(server.asked) == 8


def test_dollars_are_never_overspent(judge: Judge, server: Server) -> None:
    """A request costs 10 + 5 tokens; its worst case is a few thousand."""
    prices = {"usd_per_million_prompt_tokens": 1.0, "usd_per_million_completion_tokens": 2.0}
    rows = [candidate("y" * n) for n in range(1, 9)]
    poor = changed(judge, budget=replace(judge.budget, max_usd=0.0005, **prices))
    assert all(str(one.detail).startswith("budget spent") for one in scores(poor, *rows))
    fair = changed(judge, budget=replace(judge.budget, max_usd=0.005, **prices))
    assert [one.value for one in scores(fair, *rows)] == [float(n) for n in range(1, 9)]


def test_a_reply_that_cannot_be_read_is_asked_again_and_then_an_error(judge: Judge, server: Server) -> None:
    patient = changed(judge, mode=Mode.PAIRWISE, attempts=2)
    found = scores(patient, candidate("unsure", "base"))[0]
    assert (found.outcome, found.value) == (Outcome.ERROR, None)
    assert "no verdict in double square brackets (2 replies, rewards.judge.attempts)" in str(found.detail)
    assert [message["role"] for message in server.asked[1]["messages"]] == ["user", "assistant", "user"]
    assert server.asked[1]["messages"][2]["content"] == REMINDER
    assert scores(patient, candidate("unsure", "base")) == [found]
    assert len(server.asked) == 2


def test_a_reminder_may_help(judge: Judge, server: Server) -> None:
    server.answer = lambda path, body: chat("nine" if len(body["messages"]) == 1 else "[[9]]")
    assert scores(judge, candidate("x"))[0].value == 9.0


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_reply_that_was_cut_is_no_verdict(reason: str, judge: Judge, server: Server) -> None:
    server.answer = lambda path, body: chat("[[1]]", finish_reason=reason)
    found = scores(judge, candidate("x"))[0]
    assert (found.outcome, found.value) == (Outcome.ERROR, None)
    assert reason in str(found.detail)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(Fault(status=400), Outcome.ERROR), (Fault(wait_s=9), Outcome.TIMEOUT)],
    ids=["400", "silence"],
)
def test_a_request_that_fails_is_an_outcome_of_its_row(
    fault: Fault, outcome: Outcome, judge: Judge, server: Server
) -> None:
    server.always = lambda body: fault if "poison" in body["messages"][0]["content"] else None
    found = scores(judge, candidate("poison"), candidate("four"))
    assert [(one.outcome, one.value) for one in found] == [(outcome, None), (Outcome.NOT_APPLICABLE, 4.0)]


def test_an_endpoint_that_serves_nobody_is_an_engine_error_and_keeps_what_was_judged(
    judge: Judge, server: Server
) -> None:
    scores(judge, candidate("four"))
    server.always = lambda body: Fault(status=503)
    with pytest.raises(EngineError, match="serves nobody.*503"):
        scores(judge, *(candidate("z" * n) for n in range(1, 10)))
    assert scores(judge, candidate("four"))[0].value == 4.0


def test_another_model_is_refused(judge: Judge, server: Server) -> None:
    server.answer = lambda path, body: chat("[[5]]", model="cheaper")
    with pytest.raises(ConfigError, match="answered as cheaper"):
        scores(judge, candidate("x"))
    assert not list(Path(judge.cache).rglob("*.json"))


def test_verdicts_are_weighted_by_the_judges_probabilities(judge: Judge, server: Server) -> None:
    """70% for A wherever it stands: the win shown first and the loss shown second cancel out."""
    place = [{"token": "A", "logprob": -0.3567, "top_logprobs": [
        {"token": "A", "logprob": -0.3567}, {"token": "B", "logprob": -1.2040},
    ]}]  # fmt: skip
    around = [{"token": token, "logprob": 0.0, "top_logprobs": []} for token in ("so", " [[", "]]")]
    server.answer = lambda path, body: chat("so [[A]]", logprobs=[*around[:2], *place, around[2]])
    weighted = changed(judge, mode=Mode.PAIRWISE, weighted=True)
    found = scores(weighted, candidate("seven", "base"))[0]
    assert found.value == pytest.approx(0.5, abs=1e-4)
    assert found.detail == f"first: 0.700, second: 0.300; {DISAGREE}"
    assert server.asked[0]["top_logprobs"] == 20
    assert scores(weighted, candidate("seven", "base")) == [found]
    assert len(server.asked) == 2


def test_a_torn_file_of_the_cache_is_asked_for_again(judge: Judge, server: Server) -> None:
    first = scores(judge, candidate("four"))
    (file,) = Path(judge.cache).rglob("*.json")
    file.write_bytes(file.read_bytes()[:20])
    assert scores(judge, candidate("four")) == first
    assert len(server.asked) == 2
    assert json.loads(file.read_bytes())["text"] == first[0].detail


def test_two_workers_share_a_cache(judge: Judge) -> None:
    rows = [candidate("w" * n) for n in range(1, 11)]
    found: list[list[Score]] = []
    threads = [threading.Thread(target=lambda: found.append(scores(judge, *rows))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[one.value for one in each] for each in found] == [[float(n) for n in range(1, 11)]] * 3
    assert len(list(Path(judge.cache).rglob("*"))) - len(list(Path(judge.cache).iterdir())) == 10


@pytest.mark.slow
def test_a_killed_worker_loses_nothing_that_it_has_heard(server: Server, tmp_path: Path) -> None:
    """kill -9 in the middle: what has a file is not asked again, and every file can be read."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom tests.fusion.rewards.test_judge import *\n"
        "scores(made(sys.argv[1], Path(sys.argv[2])), *(candidate('w' * n) for n in range(1, 11)))\n"
    )
    answered: list[str] = []

    def slowly(path: str, body: Body) -> Body:
        if len(answered) >= 5:
            time.sleep(30)
        answered.append(body["messages"][0]["content"])
        return opinion(path, body)

    server.answer = slowly
    process = subprocess.Popen([sys.executable, "-c", code, server.url, str(tmp_path)], cwd=ROOT)
    end = time.monotonic() + 60
    while len(list((tmp_path / "cache").rglob("*.json"))) < 5 and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(list((tmp_path / "cache").rglob("*.json")))
    assert kept >= 5
    server.answer = opinion
    before = len(server.asked)
    found = scores(made(server.url, tmp_path), *(candidate("w" * n) for n in range(1, 11)))
    assert [one.value for one in found] == [float(n) for n in range(1, 11)]
    assert len(server.asked) - before == 10 - kept


def test_the_plugin_is_found_and_its_config_is_checked(judge: Judge) -> None:
    plugin = registry.plugins("reward")["judge"]
    node = OmegaConf.structured(plugin)
    assert set(OmegaConf.missing_keys(node)) == {"endpoint.url", "endpoint.model", "revision"}
    node.merge_with({"endpoint": {"url": "http://h/v1", "model": "m"}, "revision": "1", "limit_name": "MAX_TOKENS"})
    made_by_hydra = OmegaConf.to_object(node)
    assert isinstance(made_by_hydra, Judge)
    assert made_by_hydra.limit_name is LimitName.MAX_TOKENS
    for settings in ({"low": 10.0}, {"attempts": 0}, {"weighted": True, "low": 0.5}, {"baseline_source": "x"}):
        with pytest.raises(ConfigError, match="rewards.judge"):
            replace(judge, **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not pinned"):
        changed(judge, revision="")


def test_compare_gives_both_orders_for_labelled_pairs(judge: Judge) -> None:
    with changed(judge, mode=Mode.PAIRWISE).open("", Placement()) as scorer:
        assert scorer.compare([{"role": "user", "content": "q"}], "longer", "short") == (1.0, 1.0)
        assert scorer.compare([{"role": "user", "content": "q"}], "vain", "longer") == (1.0, 0.0)


def test_a_judge_scores_in_the_stream_and_a_larger_budget_completes_it(
    judge: Judge, server: Server, tmp_path: Path
) -> None:
    """Through the stage; the worker can travel as bytes."""
    prompt_table, answers = prompts(tmp_path, "abcd"), responses(tmp_path, {name: name * 3 for name in "abcd"})
    assert pickle.loads(pickle.dumps(ScorePool({"judge": judge}, ""))).rewards["judge"] == judge  # noqa: S301
    for max_requests, outcomes in ((3, {"not_applicable": 3, "error": 1}), (4, {"not_applicable": 4})):
        reward = changed(judge, budget=replace(judge.budget, max_requests=max_requests))
        done = work(tmp_path / f"rewards{max_requests}", prompt_table, answers, reward)
        score.run([done], InProcess())
        found = done.rows_out.seal({}).read()
        assert Counter(found["outcome"].to_pylist()) == outcomes
        assert len(server.asked) == max_requests


def test_paths_are_made_absolute_where_the_run_is_started(judge: Judge) -> None:
    moved = replace(judge, cache="judgements", budget=Budget(ledger="spent"))
    assert (moved.cache, moved.budget.ledger) == (str(Path.cwd() / "judgements"), str(Path.cwd() / "spent"))
    for elsewhere in ("~/judgements", "s3://bucket/judgements"):
        assert replace(judge, cache=elsewhere).cache == elsewhere
