"""Verdicts of the sandbox: how tests reach a program, what it answers, and what the verdict is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion.errors import ConfigError, EngineError
from fusion.sandbox.launch import Limits
from fusion.sandbox.session import Case, Sandbox
from fusion.schema import Outcome

ROOT = Path(__file__).resolve().parents[3]
CASES = {
    "value": ("def f(x): return 2 * x", "assert f(2) == 4", Outcome.PASS),
    "wrong value": ("def f(x): return 2 * x", "assert f(2) == 5", Outcome.FAIL),
    "every kind of value": (
        "def f(*values): return list(values)",
        """
import math
from collections import deque
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
values = [None, True, -1, 10**5000, 0.1, -0.0, math.inf, "\\ud800 ü\\n", b"\\x00", bytearray(b"a"), 1 + 2j, (1, (2,)),
    {1, 2}, frozenset({3}), {(1, 2): {"a": [1]}}, deque([1]), range(0, 9, 2), Decimal("1.10"), Fraction(1, 3),
    date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, 4), time(1, 2), timedelta(-1, 2, 3)]
answer = f(*values)
assert answer == values
assert [type(item) for item in answer] == [type(item) for item in values]
assert math.isnan(f(math.nan)[0])
""",
        Outcome.PASS,
    ),
    "named tuple and enum with a value": (
        "from typing import NamedTuple\nfrom enum import IntEnum\n"
        "class P(NamedTuple):\n x: int\nclass E(IntEnum):\n A = 7\n"
        "def f(x): return P(x), E.A",
        "assert f(1) == ((1,), 7)",
        Outcome.PASS,
    ),
    "argument changed in place": ("def f(x): x.sort()", "x = [2, 1]\nf(x)\nassert x == [1, 2]", Outcome.PASS),
    "generator": ("def f(n):\n for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2]", Outcome.PASS),
    "iterator": (
        "def f(x): return map(str, x)",
        "x = f([1])\nassert next(x) == '1'\nassert list(x) == []",
        Outcome.PASS,
    ),
    "callback": ("def f(g, x): return [g(i) for i in x]", "n = 5\nassert f(lambda i: i + n, [1]) == [6]", Outcome.PASS),
    "higher-order function": ("def f(n): return lambda x: x + n", "assert f(2)(3) == 5", Outcome.PASS),
    "class with a life": (
        "class Stack(list):\n def push(self, x): self.append(x); return self\n"
        " @property\n def top(self): return self[-1]",
        "s = Stack()\ns.push(1).push('b')\nassert s.top == 'b' and len(s) == 2 and 1 in s and s[0] == 1 and s\n"
        "assert str(s) == \"[1, 'b']\" and [x for x in s] == [1, 'b'] and s == s and not s == [1, 'b']",
        Outcome.PASS,
    ),
    "instances meet": (
        "class V:\n def __init__(self, x): self.x = x\n def __add__(self, o): return V(self.x + o.x)\n"
        " def __eq__(self, o): return self.x == o.x",
        "a = V(1)\na.x = 5\nassert (a + V(2)).x == 7 and a + V(2) == V(7) and a != V(7)",
        Outcome.PASS,
    ),
    "expected exception": (
        "def f(x): raise ValueError('too big')",
        "try:\n f(1)\nexcept ValueError as e:\n assert 'big' in str(e)\nelse:\n assert False",
        Outcome.PASS,
    ),
    "unexpected exception": ("def f(x): return x.nothing", "f(1)", Outcome.FAIL),
    "own exception": ("class E(Exception): pass\ndef f(x): raise E('no')", "f(1)", Outcome.FAIL),
    "missing name": ("def g(x): return x", "assert f(1) == 1", Outcome.FAIL),
    "does not load": ("raise RuntimeError('no')", "assert True", Outcome.FAIL),
    "function named like Python's": ("def sum(a, b): return a * b", "assert sum(2, 5) == 7", Outcome.FAIL),
    "names of the library": ("from math import *\ndef f(x): return x", "assert math.isclose(f(1), 1)", Outcome.PASS),
    "main guard is not run": ("def f(): return 1\nif __name__ == '__main__': input()", "assert f() == 1", Outcome.PASS),
    "tests in a function": ("def f(): return 1", "def test_f():\n assert f() == 2", Outcome.FAIL),
    "tests in a class": (
        "def f(): return 1",
        "import unittest\nclass T(unittest.TestCase):\n def test_f(self): self.assertEqual(f(), 2)",
        Outcome.FAIL,
    ),
    "tests pass what cannot travel": ("def f(x): return x", "class A: pass\nf(A())", Outcome.ERROR),
    "tests exit": ("def f(x): return x", "import sys\nsys.exit(0)", Outcome.ERROR),
    "tests end their process": ("def f(x): return x", "import os\nos._exit(0)", Outcome.ERROR),
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits()) as sandbox:
        yield sandbox


@pytest.mark.parametrize(("program", "test", "outcome"), CASES.values(), ids=CASES.keys())
def test_verdict(sandbox: Sandbox, program: str, test: str, outcome: Outcome) -> None:
    verdict = sandbox.judge(Case(program=program, tests=[test]))
    assert verdict.outcome == outcome, verdict.detail


def test_failure_names_the_test_and_the_exception(sandbox: Sandbox) -> None:
    tests = ["assert f(1) == 1", "x = 1\nassert f(2) == 3, 'two'"]
    verdict = sandbox.judge(Case(program="def f(x): return x", tests=tests))
    assert verdict.detail == "test 2 of 2, line 2: AssertionError: two"


def test_check_is_called_with_the_entry_point_and_the_given_code_is_the_tests_own(sandbox: Sandbox) -> None:
    """HumanEval's form: the prompt gives a helper that the tests use; the program's version counts for nothing."""
    setup = "def helper(x): return x + 1\ndef f(x):\n    '''To be written.'''\n"
    test = "def check(candidate):\n    assert candidate(1) == helper(1)\n"
    right = Case(program="def f(x): return helper(x)", tests=[test], entry_point="f", setup=setup)
    wrong = Case(program="def helper(x): return 0\ndef f(x): return 0", tests=[test], entry_point="f", setup=setup)
    assert sandbox.judge(right).outcome == Outcome.PASS
    assert sandbox.judge(wrong).outcome == Outcome.FAIL


def test_classes_of_the_setup_are_the_programs(sandbox: Sandbox) -> None:
    setup = "class Node:\n    def __init__(self, value, rest=None):\n        self.value, self.rest = value, rest\n"
    test = "assert total(Node(1, Node(2))) == 3\nassert grown(Node(1)).rest.value == 2"
    program = (
        "def total(node): return node.value + total(node.rest) if isinstance(node, Node) else 0\n"
        "def grown(node): node.rest = Node(2); return node"
    )
    assert sandbox.judge(Case(program=program, tests=[test], setup=setup)).outcome == Outcome.PASS


def test_broken_setup_is_an_error(sandbox: Sandbox) -> None:
    verdict = sandbox.judge(Case(program="def f(): return 1", tests=["assert f() == 1"], setup="1 / 0"))
    assert verdict.outcome == Outcome.ERROR
    assert "ZeroDivisionError" in (verdict.detail or "")


def test_the_seed_of_the_tests_is_theirs(sandbox: Sandbox) -> None:
    program = "def f(x): return x"
    first = [
        sandbox.judge(Case(program=program, tests=["import random\nassert f(random.random()) == 0"])) for _ in "12"
    ]
    draw = "import random\nx = random.random()\nassert x == f(x) and x != 0.8444218515250481"
    assert first[0] == first[1]
    assert sandbox.judge(Case(program=program, tests=[draw], seed=0)).outcome == Outcome.FAIL
    assert sandbox.judge(Case(program=program, tests=[draw], seed=1)).outcome == Outcome.PASS


def test_no_bwrap_refuses_and_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineError, match="apt-get install bubblewrap"), Sandbox(Limits()):
        pass


def test_bwrap_that_may_not_isolate_refuses_and_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EngineError, match="No permissions to create new namespace.*type: sysctl"), Sandbox(Limits()):
        pass


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user; otherwise every test here is that case"
)
def test_ordinary_user_judges_as_root_does() -> None:
    """Python may lie where only root can read: a mount shows it at its place."""
    prefix = Path(sys.executable).resolve().parents[1]
    hidden = Path(*prefix.parts[:2])
    view = ["bwrap", "--dev-bind", "/", "/", "--proc", "/proc"]
    if not prefix.is_relative_to("/usr"):
        view += ["--perms", "0755", "--tmpfs", str(hidden)]
        for parent in reversed(prefix.parents[: len(prefix.parts) - 3]):
            view += ["--perms", "0755", "--dir", str(parent)]
        view += ["--ro-bind", str(prefix), str(prefix)]
    code = (
        "import os\nfrom fusion.sandbox.session import Case, Limits, Sandbox\nassert os.geteuid() == 65534\n"
        "with Sandbox(Limits()) as s:\n"
        "    for n in (4, 5):\n"
        "        print(s.judge(Case(program='def f(x): return 2 * x', tests=[f'assert f(2) == {n}'])).outcome)"
    )
    user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", sys.executable, "-c", code]
    done = subprocess.run([*view, "--", *user], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == ["pass", "fail"], done.stderr


@pytest.mark.parametrize("field", ["cpu_s", "deadline_s", "memory_mib", "processes", "files_mib"])
def test_limits_that_limit_nothing_are_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        Limits(**{field: 0})
