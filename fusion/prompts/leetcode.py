"""Prompts of `greengerong/leetcode`: problem statements whose examples become tests.

The data set has no tests. Its statements have examples (`Input: nums = [2,7], target = 9` ... `Output: [0,1]`) and its
Python solution names the function; together they make assert statements. FuseChat-3.0 keeps "samples with test cases"
without saying how it came by them (arXiv 2503.04222, section 3.1).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from fusion.errors import ConfigError
from fusion.prompts.base import RawPrompt
from fusion.prompts.columns import Columns, text_of
from fusion.prompts.hf_dataset import HfDataset

_FENCED = re.compile(r"```(?:\w+)?\n(.*?)```", re.DOTALL)
_EXAMPLE = re.compile(r"\*{0,2}Input:?\*{0,2}:?\s*(.+?)\s*\n\s*\*{0,2}Output:?\*{0,2}:?\s*([^\n]+)", re.DOTALL)
_ESCAPED = re.compile(r"\\([^\w\s])")  # Markdown's, as in \[2,7\]
_CONSTANTS = re.compile(r"\b(?:true|false|null)\b")
_SPELLED = {"true": "True", "false": "False", "null": "None"}


@dataclass(kw_only=True)
class LeetCode(HfDataset):
    """One prompt a problem: the statement, and `signature` with the function's name and parameters filled in.

    A problem whose examples give no test (pictures, classes to design, in-place changes) has no reference; let
    `filters.need=tests` drop it. Only Python is asked for, so there are fewer prompts than the paper's 3,113, which are
    more than the data set has problems (several languages, most likely).
    """

    name: str = "greengerong/leetcode"
    columns: Columns = field(
        default_factory=lambda: Columns(prompt="content", tag="difficulty", response="python", default_domain="code")
    )
    signature: str = "Write a Python function `{signature}` that solves this problem."
    """Follows the statement; `{signature}` stands for the call, e.g. `two_sum(nums, target)`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if "{signature}" not in self.signature:
            raise ConfigError("prompts.signature lacks {signature}: a model must know the name that the tests call")

    def to_prompt(self, row: object, key: str) -> RawPrompt:
        prompt = super().to_prompt(row, key)
        assert isinstance(row, Mapping)  # the line above refuses anything else
        function = _solution(text_of(row, self.columns.response, key), text_of(row, "slug", key))
        if function is None:
            return prompt
        names = [argument.arg for argument in function.args.args if argument.arg != "self"]
        asked = self.signature.replace("{signature}", f"{function.name}({', '.join(names)})")
        statement = prompt.messages[-1]["content"]
        tests = list(_tests(statement, function.name, names))
        reference = json.dumps({"tests": "\n".join(tests), "entry_point": function.name}) if tests else None
        return replace(
            prompt, messages=({"role": "user", "content": f"{statement.strip()}\n\n{asked}"},), reference=reference
        )


def _solution(markdown: str, slug: str) -> ast.FunctionDef | None:
    """The stored solution's function, alone or in a class: the one called as the problem, else the last (helpers come
    first); None: there is none that parses.
    """
    block = _FENCED.search(markdown)
    try:
        tree = ast.parse(block[1] if block else markdown)
    except (SyntaxError, ValueError):
        return None
    found = [item for node in tree.body for item in (node.body if isinstance(node, ast.ClassDef) else [node])]
    functions = [item for item in found if isinstance(item, ast.FunctionDef) and not item.name.startswith("__")]
    named = [item for item in functions if item.name.replace("_", "").lower() == slug.replace("-", "")]
    return next(iter(named or functions[-1:]), None)


def _tests(statement: str, name: str, parameters: list[str]) -> Iterator[str]:
    """`assert name(...) == ...` of each example that assigns exactly the parameters and has literal values."""
    for given, wanted in _EXAMPLE.findall(_ESCAPED.sub(r"\1", statement.replace("`", ""))):
        arguments, output = _arguments(given), _literal(wanted)
        if arguments is not None and output is not None and len(arguments) == len(parameters):
            yield f"assert {name}({', '.join(arguments)}) == {output}"


def _arguments(given: str) -> list[str] | None:
    """The values of `nums = [2,7], target = 9`, in order; None: not of that form."""
    try:
        call = ast.parse(f"f({_python(given)})", mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(call, ast.Call) or call.args or not call.keywords:
        return None
    values = [_literal(ast.unparse(keyword.value)) for keyword in call.keywords]
    return None if None in values else [value for value in values if value is not None]


def _literal(text: str) -> str | None:
    """A value as Python writes it; None: it is no literal."""
    try:
        return repr(ast.literal_eval(_python(text.strip())))
    except (SyntaxError, ValueError):
        return None


def _python(text: str) -> str:
    """JSON's constants as Python's."""
    return _CONSTANTS.sub(lambda match: _SPELLED[match[0]], text)
