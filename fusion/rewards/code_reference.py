"""What a prompt's reference says of the tests of a program.

Three forms: Python source with asserts; a JSON list of assert lines (MBPP); a JSON object `{"tests": source or list,
"entry_point": name, "prompt": code to continue, "setup" or "imports": code}`, of which only the tests are needed, as
HumanEval has them (there the tests define `check(candidate)`). Code given in the prompt and the setup runs before the
program, and for the tests too. A reference without `prompt` takes the code to continue from what was asked.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
from dataclasses import dataclass

from fusion.prompts.implied_domain import is_literal_only
from fusion.rewards.code_asked import code_asked, stubs, without_stubs
from fusion.sandbox.names import free_names, used_and_bound

UNPARSABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
"""What `ast.parse` raises on text that is no Python, whatever it holds."""
_TESTLIKE = re.compile(r"\bassert(?![a-z])|\bdef\s+(?:check|test)|\bunittest\b")
_DEFINES_ONLY = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)


class BadReference(Exception):  # noqa: N818 (a fault of the prompt, of which every response gets the outcome error)
    """The tests do not parse, or test nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeReference:
    """Example: CodeReference(tests=["assert double(2) == 4"], entry_point="double", needed=["double"])"""

    tests: list[str]
    entry_point: str | None
    needed: list[str]
    """What a program must define at its top level."""
    prompt: str = ""
    """Code that a reply may continue instead of repeating it."""
    setup: str = ""
    """Runs before the program: the setup, and the prompt where it stands alone."""


def code_reference(reference: str | None, asked: str = "") -> CodeReference | None:
    """The tests, or None where the reference has none: it is the gold answer of another kind of prompt.

    Args:
        asked: what the user asked. Code in it that begins what the tests call is the code to continue, unless the
            reference has a `prompt` itself.

    Raises:
        BadReference: it has tests that cannot be run.
    """
    fields = _fields(reference or "")
    tests = [test for test in _texts(fields.get("tests")) if test.strip()]
    if not tests:
        return None
    setup = "\n".join(_texts(fields.get("imports")) + _texts(fields.get("setup")))
    entry = str(fields.get("entry_point") or "") or None
    try:
        free = free_names(tests, used_and_bound([setup])[1])
        prompt = str(fields.get("prompt") or "") or code_asked(asked, [entry] if entry else free)
        before = "\n".join(part for part in (setup, prompt if _parses(prompt) else "") if part)
        given = used_and_bound([before])[1] - stubs(before)
        free = [name for name in free if name not in given]
        before = before if entry else without_stubs(before)
        if entry is None and not free:
            entry = _called_builtin(tests)
        is_idle = all(_is_idle(ast.parse(test), entry) for test in tests)
    except UNPARSABLE as error:
        raise BadReference(
            f"the tests of the reference are no Python: {type(error).__name__}: {error}"[:300]
        ) from error
    if is_idle:
        raise BadReference(
            'the reference only defines tests; give {"tests": ..., "entry_point": ...} for check(candidate)'
        )
    return CodeReference(tests=tests, entry_point=entry, needed=[entry] if entry else free, prompt=prompt, setup=before)


def _fields(reference: str) -> dict[str, object]:
    try:
        data = json.loads(reference)
    except ValueError:
        return {"tests": reference} if _TESTLIKE.search(reference) and not is_literal_only(reference) else {}
    if isinstance(data, list):
        return {"tests": data} if any(isinstance(line, str) and _TESTLIKE.search(line) for line in data) else {}
    return data if isinstance(data, dict) else {}


def _texts(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    return [value] if isinstance(value, str) else []


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except UNPARSABLE:
        return False
    return True


def _called_builtin(tests: list[str]) -> str | None:
    """MBPP has functions with names of Python's own: `assert sum(10, 15) == 6`. The first one called is meant."""
    for test in tests:
        for node in ast.walk(ast.parse(test)):
            match node:
                case ast.Call(func=ast.Name(id=name)) if hasattr(builtins, name):
                    return name
    return None


def _is_idle(tree: ast.Module, entry: str | None) -> bool:
    """Whether nothing would be tested: only definitions, and none of those that are called by convention."""
    for node in tree.body:
        match node:
            case ast.FunctionDef(name=name) if name.startswith("test") or (entry and name == "check"):
                return False
            case ast.ClassDef(bases=bases) if any("TestCase" in ast.unparse(base) for base in bases):
                return False
            case ast.Expr(value=ast.Constant()):
                continue
            case _ if not isinstance(node, _DEFINES_ONLY):
                return False
    return True
