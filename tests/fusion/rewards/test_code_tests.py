"""The code verifier in its real sandbox, and its agreement with public verdicts on programs of thirteen models."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusion.config import composed, typed
from fusion.errors import ConfigError
from fusion.rewards.base import Scorer
from fusion.rewards.code_tests import CodeTests
from fusion.sandbox.launch import Limits
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate
from tests.shared_data import shared_data

DOUBLE = '["assert double(2) == 4", "assert double(3) == 6"]'
CONTINUED = json.dumps(
    {
        "tests": "def check(candidate):\n    assert candidate([1, 2]) == total([1, 2])\n",
        "entry_point": "add",
        "prompt": 'def total(x):\n    return sum(x)\n\n\ndef add(x):\n    """Add up, see total."""\n',
    }
)
CASES = {
    "list of asserts": (DOUBLE, "Sure:\n```python\ndef double(n):\n    return n + n\n```", Outcome.PASS),
    "one test fails": (DOUBLE, "```python\ndef double(n):\n    return 4\n```", Outcome.FAIL),
    "source of tests": ("assert double(2) == 4", "def double(n): return 2 * n", Outcome.PASS),
    "continues the prompt": (CONTINUED, "    return total(x)\n", Outcome.PASS),
    "continues the prompt wrongly": (CONTINUED, "    return 0\n", Outcome.FAIL),
    "repeats only the function": (CONTINUED, "```python\ndef add(x):\n    return total(x)\n```", Outcome.PASS),
    "repeats all of it": (
        CONTINUED,
        "```python\ndef total(x):\n    return sum(x)\n\ndef add(x):\n    return total(x)\n```",
        Outcome.PASS,
    ),
    "no code": (DOUBLE, "I would double it.", Outcome.FAIL),
    "missing module": (DOUBLE, "import a_module\ndef double(n): return 2 * n", Outcome.FAIL),
    "a package that the sandbox lacks": (DOUBLE, "import numpy as np\ndef double(n): return 2 * n", Outcome.ERROR),
    "never ends": (DOUBLE, "def double(n):\n    while n: pass", Outcome.TIMEOUT),
    "broken tests": ('["assert double(2) =="]', "def double(n): return 2 * n", Outcome.ERROR),
    "broken setup": ('{"tests": "assert f()", "setup": "import a_module"}', "def f(): return 1", Outcome.ERROR),
    "no tests": ("72", "def f(): return 1", Outcome.NOT_APPLICABLE),
    "no reference": (None, "def f(): return 1", Outcome.NOT_APPLICABLE),
}


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    with CodeTests(limits=Limits(cpu_s=2), reruns=0).open("", Placement()) as scorer:
        yield scorer


@pytest.mark.parametrize(("reference", "reply", "outcome"), CASES.values(), ids=CASES.keys())
def test_verdict(scorer: Scorer, reference: str | None, reply: str, outcome: Outcome) -> None:
    score = scorer.score([candidate(reply, reference)])[0]
    assert score.outcome == outcome, score.detail
    assert score.value == {Outcome.PASS: 1.0, Outcome.FAIL: 0.0}.get(outcome)
    assert (score.detail is None) == (outcome == Outcome.PASS)


@pytest.mark.parametrize(("body", "outcome"), [("total(x)", Outcome.PASS), ("0", Outcome.FAIL)])
def test_source_of_tests_calls_the_program_and_not_the_prompts_stub(
    scorer: Scorer, body: str, outcome: Outcome
) -> None:
    fields = json.loads(CONTINUED)
    reply = candidate(f"    return {body}\n", f"{fields['tests']}\ncheck(add)\n", prompt=fields["prompt"])
    assert scorer.score([reply])[0].outcome == outcome


def test_failure_says_which_test_and_why(scorer: Scorer) -> None:
    score = scorer.score([candidate("def double(n): return n * n", DOUBLE)])[0]
    assert score.detail == "test 2 of 2, line 1: AssertionError"


def test_failure_is_believed_only_after_reruns() -> None:
    """The tests draw another number in each run; the program is right for some."""
    reference = "import random\nassert small(random.Random(random.random()).random()) < 0.5"
    draws = [random.Random(random.Random(seed).random()).random() for seed in range(3)]
    first = next(number for number, draw in enumerate(draws) if draw < 0.5)
    assert first > 0
    for reruns, outcome in ((first - 1, Outcome.FAIL), (first, Outcome.PASS)):
        with CodeTests(reruns=reruns).open("", Placement()) as scorer:
            assert scorer.score([candidate("def small(x): return x", reference)])[0].outcome == outcome


def test_several_at_a_time_keep_their_order() -> None:
    replies = [f"def double(n): return n * {factor}" for factor in (2, 3, 2, 3, 3, 2)]
    with CodeTests(reruns=0).open("", Placement(cpus=2)) as scorer:
        outcomes = [score.outcome for score in scorer.score([candidate(reply, DOUBLE) for reply in replies])]
    assert outcomes == ["pass", "fail", "pass", "fail", "fail", "pass"]


def test_other_domains_are_left_alone_when_domains_are_named() -> None:
    with CodeTests(domains=["code"]).open("", Placement()) as scorer:
        score = scorer.score([candidate("def double(n): return 2 * n", DOUBLE, domain="math")])[0]
    assert score.outcome == Outcome.NOT_APPLICABLE


def test_where_no_sandbox_can_be_made_named_domains_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    refused = pytest.raises(ConfigError, match="apt-get install bubblewrap")
    with refused, CodeTests(domains=["code"]).open("", Placement()):
        pass


def test_answers_without_programs_need_no_sandbox_and_the_first_program_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file of mathematics is replayed on a machine without bubblewrap; nothing is ever run outside a sandbox."""
    monkeypatch.setenv("PATH", "/nowhere")
    with CodeTests().open("", Placement()) as scorer:
        assert scorer.score([candidate("It is 72.", "72")])[0].outcome == Outcome.NOT_APPLICABLE
        with pytest.raises(ConfigError, match="apt-get install bubblewrap"):
            scorer.score([candidate("def double(n): return 2 * n", DOUBLE)])


def test_negative_reruns_are_refused() -> None:
    with pytest.raises(ConfigError, match="code_tests.reruns"):
        CodeTests(reruns=-1)


def _rows() -> list[dict[str, Any]]:
    path = shared_data("code/code_multi_source.jsonl.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    if not os.environ.get("FUSION_ALL_PROGRAMS"):
        rows = random.Random(0).sample(rows, 400)
    return rows


def _references() -> dict[str, str]:
    """Task -> reference; HumanEval is code to continue, MBPP's base tests are asserts."""
    found = {}
    for line in shared_data("code/humaneval.jsonl").read_text().splitlines():
        task = json.loads(line)
        fields = {"tests": task["test"], "entry_point": task["entry_point"], "prompt": task["prompt"]}
        found[task["task_id"]] = json.dumps(fields)
    with gzip.open(shared_data("code/mbpp_plus.jsonl.gz"), "rt", encoding="utf-8") as file:
        for line in file:
            task = json.loads(line)
            fields = {"tests": task["assertion"], "entry_point": task["entry_point"]}
            found[task["task_id"]] = json.dumps(fields)
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_verdicts_agree_with_public_ones() -> None:
    """On a sample; on all 4,468 programs with FUSION_ALL_PROGRAMS=1, a quarter of an hour on two cores.

    Undecided (out of time, or a package is needed that the sandbox lacks) is neither; there are few.
    """
    references = _references()
    rows = _rows()
    with CodeTests(limits=Limits(cpu_s=5), reruns=0).open("", Placement(cpus=2)) as scorer:
        scores = scorer.score([candidate(row["text"], references[row["task_id"]], domain="code") for row in rows])
    found = [
        (row["task_id"], row["source"], Outcome.PASS if row["passed_base_tests"] else Outcome.FAIL, score)
        for row, score in zip(rows, scores, strict=True)
    ]
    decided = [one for one in found if one[3].outcome in (Outcome.PASS, Outcome.FAIL)]
    assert len(found) - len(decided) <= 0.005 * len(rows), [one for one in found if one not in decided]
    differ = [one for one in decided if one[3].outcome != one[2]]
    assert len(differ) <= 0.005 * len(rows), differ


@pytest.mark.slow
@pytest.mark.parametrize("name", ["code/humaneval.jsonl", "code/mbpp.jsonl", "code/leetcode_contest_180.jsonl.gz"])
def test_public_tests_can_be_run(name: str) -> None:
    """Known solutions pass; a program that does nothing fails, which says that the tests were run."""
    path: Path = shared_data(name)
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    tasks = random.Random(0).sample([json.loads(line) for line in text.splitlines()], 60)
    with CodeTests(reruns=0).open("", Placement(cpus=2)) as scorer:
        for task in tasks:
            if "test_list" in task:
                fields = {"tests": task["test_list"], "setup": task["test_setup_code"]}
                right, wrong = task["code"], None
            elif "canonical_solution" in task:
                fields = {"tests": task["test"], "entry_point": task["entry_point"], "prompt": task["prompt"]}
                right, wrong = task["canonical_solution"], "    return None\n"
            else:
                fields, right = {"tests": task["test"], "setup": "from typing import *"}, None
                wrong = "class Solution:\n    def __getattr__(self, name): return lambda **named: None"
            for reply, outcome in ((right, Outcome.PASS), (wrong, Outcome.FAIL)):
                if reply is not None:
                    score = scorer.score([candidate(reply, json.dumps(fields), domain="code")])[0]
                    assert score.outcome == outcome, (task["task_id"], score.detail)


def test_limits_are_set_on_the_command_line() -> None:
    config = typed(
        composed(
            ["experiment=quickstart", "reward=[answer,likelihood,code_tests]", "rewards.code_tests.limits.cpu_s=5"]
        )
    )
    reward = config.rewards["code_tests"]
    assert isinstance(reward, CodeTests)
    assert reward.limits.cpu_s == 5
