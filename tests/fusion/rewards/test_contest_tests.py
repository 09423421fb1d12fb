"""Contest problems in the real sandbox: programs that read and print, and methods that are called."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from collections.abc import Iterator

import pytest

from fusion.rewards.base import Scorer
from fusion.rewards.contest_cases import contest_cases
from fusion.rewards.contest_tests import ContestTests
from fusion.sandbox.launch import Limits
from fusion.schema import Outcome
from fusion.step import Placement
from tests.fusion.rewards.candidates import candidate

SUMS = [("1 2\n", "3\n"), ("10 -4\n", "6")]
LINES = [("2\nx\ny\n", "y\nx\n")]
HALVES = [("1\n", "0.5"), ("3", "1.50")]
ADDED = [("[1, 2]\n3", "6"), ("[]\n-1", "-1")]


def packed(cases: list[dict[str, str]]) -> str:
    """As the published private cases are."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def reference(cases: list[tuple[str, str]], function: str = "", pack: bool = True) -> str:
    kind = "functional" if function else "stdin"
    listed = [{"input": given, "output": wanted, "testtype": kind} for given, wanted in cases]
    private = packed(listed[1:]) if pack else json.dumps(listed[1:])
    metadata = json.dumps({"func_name": function} if function else {})
    found = {"public_test_cases": json.dumps(listed[:1]), "private_test_cases": private, "metadata": metadata}
    return json.dumps(found)


def block(code: str) -> str:
    return f"Here it is:\n```python\n{code}\n```"


@pytest.fixture(scope="module")
def scorer() -> Iterator[Scorer]:
    limits = Limits(cpu_s=3, deadline_s=60)
    with ContestTests(reruns=0, limits=limits).open("", Placement(cpus=1)) as opened:
        yield opened


CASES = {
    "input": (SUMS, "", "print(sum(map(int, input().split())))", Outcome.PASS),
    "wrong in the hidden case": (SUMS, "", "a, b = map(int, input().split())\nprint(a + abs(b))", Outcome.FAIL),
    "sys.stdin": (SUMS, "", "import sys\nprint(sum(int(w) for w in sys.stdin.read().split()))", Outcome.PASS),
    "buffers": (
        SUMS, "",
        "import sys\nsys.stdout.buffer.write(str(sum(map(int, sys.stdin.buffer.readline().split()))).encode())",
        Outcome.PASS,
    ),
    "descriptors": (
        SUMS, "", "import os\nos.write(1, str(sum(map(int, open(0).read().split()))).encode())", Outcome.PASS,
    ),
    "a main that exits": (
        SUMS, "",
        "import sys\ndef main():\n    print(sum(map(int, input().split())))\n    sys.exit()\n"
        "if __name__ == '__main__':\n    main()",
        Outcome.PASS,
    ),
    "no imports": (SUMS, "", "print(reduce(lambda a, b: a + b, map(int, input().split())))", Outcome.PASS),
    "each case afresh": (
        [("1 2\n", "3\n"), ("1 2\n", "3\n")], "",
        "import builtins\nassert not hasattr(builtins, 'seen')\nbuiltins.seen = 1\n"
        "print(sum(map(int, input().split())))",
        Outcome.PASS,
    ),
    "lines in order": (
        LINES, "", "n = int(input())\nprint(*reversed([input() for _ in range(n)]), sep=' \\n')", Outcome.PASS,
    ),
    "one line too many": (LINES, "", "print('y\\nx\\nz')", Outcome.FAIL),
    "equal numbers": (HALVES, "", "print(f'{int(input()) / 2:.3f}')", Outcome.PASS),
    "nearly equal numbers": (HALVES, "", "print(int(input()) / 2 + 1e-9)", Outcome.FAIL),
    "raises": (SUMS, "", "print(int(input()))", Outcome.FAIL),
    "exits with an error": (SUMS, "", "print(sum(map(int, input().split())))\nexit(3)", Outcome.FAIL),
    "runs for ever": (SUMS, "", "while True: pass", Outcome.FAIL),
    "kills its parent": (SUMS, "", "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", Outcome.FAIL),
    "reads more than there is": (SUMS, "", "input()\ninput()", Outcome.FAIL),
    "a method": (
        ADDED, "add", "class Solution:\n    def add(self, xs: List[int], y: int) -> int:\n        return sum(xs) + y",
        Outcome.PASS,
    ),
    "a function": (ADDED, "add", "def add(xs, y):\n    return sum(xs) + y", Outcome.PASS),
    "a wrong method": (
        ADDED, "add", "class Solution:\n    def add(self, xs, y):\n        return sum(xs) - y", Outcome.FAIL,
    ),
    "a tuple for a list": ([("1", "[1, 1]")], "twice", "def twice(x):\n    return (x, x)", Outcome.PASS),
    "another name": (ADDED, "add", "def plus(xs, y):\n    return sum(xs) + y", Outcome.FAIL),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_programs_are_judged_as_in_a_contest(name: str, scorer: Scorer) -> None:
    cases, function, code, outcome = CASES[name]
    (found,) = scorer.score([candidate(block(code), reference(cases, function))])
    assert found.outcome is outcome, found


def test_a_failure_says_where(scorer: Scorer) -> None:
    wrong, raised, endless = scorer.score(
        [candidate(block(code), reference(SUMS)) for code in ("print(3)", "print(int(input()))", "while True: pass")]
    )
    assert "test 2 of 2" in str(wrong.detail)
    assert "line 1: printed '3', expected '6'" in str(wrong.detail)
    assert "ValueError: invalid literal" in str(raised.detail)
    assert "ended by signal" in str(endless.detail)


def test_no_code_fails_and_other_references_are_not_its_own(scorer: Scorer) -> None:
    nothing, other = scorer.score([candidate("I do not know.", reference(SUMS)), candidate(block("pass"), "42")])
    assert (nothing.outcome, other.outcome) == (Outcome.FAIL, Outcome.NOT_APPLICABLE)


def test_plain_and_packed_cases_are_the_same() -> None:
    assert contest_cases(reference(SUMS)) == contest_cases(reference(SUMS, pack=False))
    assert contest_cases(reference(ADDED, "add")).function == "add"  # type: ignore[union-attr]


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("the pickle was loaded",))


@pytest.mark.parametrize(
    "private",
    [
        base64.b64encode(zlib.compress(pickle.dumps(Evil()))).decode(),
        base64.b64encode(zlib.compress(b"no pickle")).decode(),
        "%%%",
        json.dumps({"input": "1"}),
        json.dumps([{"input": "1"}]),
        json.dumps([{"input": "1", "output": "1", "testtype": "functional"}]),
    ],
    ids=["code", "no pickle", "no base64", "no list", "no output", "two kinds"],
)
def test_cases_that_cannot_be_read_are_an_error_and_run_nothing(private: str, scorer: Scorer) -> None:
    public = json.dumps([{"input": "1", "output": "1", "testtype": "stdin"}])
    broken = json.dumps({"public_test_cases": public, "private_test_cases": private, "metadata": "{}"})
    (found,) = scorer.score([candidate(block("print(1)"), broken)])
    assert found.outcome is Outcome.ERROR
