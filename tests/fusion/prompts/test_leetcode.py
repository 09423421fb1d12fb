"""Examples of a problem statement become tests."""

from __future__ import annotations

import json

import pytest

from fusion.errors import ConfigError
from fusion.prompts.code_reference import holds_tests
from fusion.prompts.leetcode import LeetCode

STATEMENT = r"""Given a list of integers `nums` and a number `step`, return every `step`\-th of them, doubled.

**Example 1:**

**Input:** nums = \[1,2,3\], step = 2
**Output:** \[2,6\]
**Explanation:** 1 and 3 are taken.

**Example 2:**

**Input:** nums = \[5\],
step = 1
**Output:** \[10\]

**Constraints:**

*   `1 <= step`
"""
SOLUTION = (
    "```python\ndef double_steps(nums, step):\n    return [2 * n for n in nums[::step]]\n\n"
    "def show(x):\n    print(x)\n```\nIt is linear."
)


def row(**changes: str) -> dict[str, str]:
    return {"slug": "double-steps", "content": STATEMENT, "python": SOLUTION, "difficulty": "Easy"} | changes


def test_examples_become_asserts_and_the_signature_is_told() -> None:
    prompt = LeetCode().to_prompt(row(), "k")
    assert prompt.messages[-1]["content"].endswith(
        "Write a Python function `double_steps(nums, step)` that solves this problem."
    )
    assert json.loads(prompt.reference or "") == {
        "tests": "assert double_steps([1, 2, 3], 2) == [2, 6]\nassert double_steps([5], 1) == [10]",
        "entry_point": "double_steps",
    }
    assert holds_tests(prompt.reference)
    assert (prompt.domain, prompt.tag, prompt.response) == ("code", "Easy", SOLUTION)


def test_the_stored_solution_passes_its_own_tests() -> None:
    reference = json.loads(LeetCode().to_prompt(row(), "k").reference or "")
    names: dict[str, object] = {}
    exec(SOLUTION.split("```")[1].removeprefix("python") + reference["tests"], names)  # noqa: S102 (our own text)


def test_a_method_of_a_class_loses_self_and_json_constants_become_pythons() -> None:
    solution = "class Solution:\n    def isOdd(self, n, strict=False):\n        return True"
    text = 'Input: n = 3, strict = true\nOutput: true\n\nInput: n = "a_b", strict = null\nOutput: null'
    prompt = LeetCode().to_prompt(row(content=text, python=solution), "k")
    assert (
        json.loads(prompt.reference or "")["tests"]
        == "assert isOdd(3, True) == True\nassert isOdd('a_b', None) == None"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"content": "No example at all."},
        {"content": "Input: a tree as drawn\nOutput: 3"},
        {"content": "Input: nums = [1]\nOutput: [2]"},  # one argument of two
        {"content": "Input: nums = [1], step = f(2)\nOutput: [2]"},
        {"python": "no code"},
        {"python": "```python\ndef broken(:\n```"},
        {"python": ""},
    ],
)
def test_a_problem_without_usable_examples_has_no_reference(changes: dict[str, str]) -> None:
    assert LeetCode().to_prompt(row(**changes), "k").reference is None


def test_a_signature_that_names_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="lacks {signature}"):
        LeetCode(signature="Write Python.")
