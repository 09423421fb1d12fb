"""What is read from the reference of a prompt."""

from __future__ import annotations

import json

import pytest

from fusion.rewards.code_reference import BadReference, CodeReference, code_reference

CHECK = "def check(candidate):\n    assert candidate(1) == 1\n"


def test_source_of_asserts() -> None:
    tests = "import math\nassert area(Pair(1, 2)) == math.prod([1, 2])"
    assert code_reference(tests) == CodeReference(tests=[tests], entry_point=None, needed=["area", "Pair"])


def test_list_of_asserts() -> None:
    tests = ["assert f(1) == 1", "assert sorted(g(2)) == [2]"]
    assert code_reference(json.dumps(tests)) == CodeReference(tests=tests, entry_point=None, needed=["f", "g"])


def test_function_named_like_one_of_python() -> None:
    found = code_reference('["assert sum(10, 15) == 6"]')
    assert found is not None
    assert (found.entry_point, found.needed) == ("sum", ["sum"])


def test_object_with_check() -> None:
    prompt = "import math\ndef f(x):\n    '''Give x back.'''\n"
    fields = {"tests": CHECK, "entry_point": "f", "prompt": prompt, "setup": "a = 1", "imports": ["import re"]}
    assert code_reference(json.dumps(fields)) == CodeReference(
        tests=[CHECK], entry_point="f", needed=["f"], prompt=prompt, setup=f"import re\na = 1\n{prompt}"
    )


def test_prompt_that_breaks_off_is_no_setup() -> None:
    found = code_reference(json.dumps({"tests": CHECK, "entry_point": "f", "prompt": "def f(x):\n"}))
    assert found is not None
    assert (found.prompt, found.setup) == ("def f(x):\n", "")


def test_names_of_the_setup_are_not_asked_of_the_program() -> None:
    found = code_reference(json.dumps({"tests": "assert f(Node(1)) == 1", "setup": "class Node: pass"}))
    assert found is not None
    assert found.needed == ["f"]


@pytest.mark.parametrize(
    "reference", [None, "", "72", "[]", '""', "Paris", "She has 72 apples.", '{"answer": "7"}', '{"tests": []}', "null"]
)
def test_references_of_other_kinds_have_no_tests(reference: str | None) -> None:
    assert code_reference(reference) is None


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("assert f(1) ==", "no Python"),
        ('["assert f(1) == 1", "assert ("]', "no Python"),
        (CHECK, "only defines"),
        ('{"tests": "def helper(): assert f(1)", "entry_point": "f"}', "only defines"),
        ('["assert f(1) == 1\\u0000"]', "no Python"),
    ],
)
def test_broken_tests_are_the_references_fault(reference: str, message: str) -> None:
    with pytest.raises(BadReference, match=message):
        code_reference(reference)


HEAD = 'from typing import List\n\ndef twice(x):\n    return 2 * x\n\ndef f(x: List[int]):\n    """Twice the sum."""\n'


@pytest.mark.parametrize("asked", [HEAD, f"Complete this:\n```python\n{HEAD}```"], ids=["alone", "fenced"])
@pytest.mark.parametrize("entry", ["f", None])
def test_code_in_the_prompt_is_the_code_to_continue(asked: str, entry: str | None) -> None:
    """HumanEval's prompts are code, and its records name the tests and the entry point only."""
    tests = "def check(candidate):\n    assert candidate([1]) == twice(1)\n"
    reference = json.dumps({"tests": tests, "entry_point": entry}) if entry else f"{tests}\ncheck(f)\n"
    found = code_reference(reference, asked)
    assert found is not None
    assert (found.prompt, found.needed) == (HEAD, ["f"])
    assert ("def twice" in found.setup, "def f" in found.setup) == (True, entry is not None)


@pytest.mark.parametrize("asked", ["Write f, which def f would do.", "```python\ndef g(x):\n    pass\n```", ""])
def test_a_prompt_without_such_code_gives_none(asked: str) -> None:
    found = code_reference('["assert f(1) == 1"]', asked)
    assert found is not None
    assert (found.prompt, found.needed) == ("", ["f"])


@pytest.mark.parametrize("reference", ['["b", "a"]', "[1, 2]", "'an assertive cat'", '["assertive"]'])
def test_literals_are_no_tests(reference: str) -> None:
    assert code_reference(reference) is None
