"""Which references hold tests."""

from __future__ import annotations

import json

import pytest

from fusion.prompts.code_reference import asserts_in, holds_tests

TESTS = [
    "assert add(1, 2) == 3",
    "import math\n\ndef check(candidate):\n    assert candidate(4) == math.sqrt(16)\n",
    "import unittest\n\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(add(1, 2), 3)",
    json.dumps(["assert add(1, 2) == 3", "assert add(0, 0) == 0"]),
    json.dumps({"tests": "def check(f):\n    assert f(1) == 2", "entry_point": "inc"}),
]
NO_TESTS = [
    None,
    "",
    " \n",
    "42",
    "assert add(1, 2) ==",
    "print(add(1, 2))",
    "[]",
    json.dumps(["assert add(1, 2) == 3", "add(0, 0)"]),
    json.dumps([3]),
    json.dumps({"entry_point": "inc"}),
    json.dumps({"tests": "inc(1)", "entry_point": "inc"}),
    "(" * 300 + ")" * 300,
]


@pytest.mark.parametrize("reference", TESTS)
def test_forms_that_the_verifier_reads(reference: str) -> None:
    assert holds_tests(reference)


@pytest.mark.parametrize("reference", NO_TESTS)
def test_anything_else_is_no_test(reference: str | None) -> None:
    assert not holds_tests(reference)


def test_asserts_are_found_once_and_only_where_they_parse() -> None:
    text = "`assert f(1) == 2`\n  assert f(1) == 2\nassert that this is no code\nassert f(\n  3) == 4\nassert f(5)"
    assert asserts_in(text) == '["assert f(1) == 2", "assert f(5)"]'
    assert asserts_in("nothing", "") is None
