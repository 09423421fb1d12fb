"""Code that a prompt gives to be continued, as HumanEval's prompts do."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

_FENCED = re.compile(r"```(?:python3?|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL | re.IGNORECASE)


def code_asked(asked: str, names: Collection[str]) -> str:
    r"""The code in what was asked that begins one of `names`: the whole text, or a fenced block; empty: there is none.

    Example: code_asked("def add(a, b):\n    '''Add.'''\n", ["add"]) == "def add(a, b):\n    '''Add.'''\n"
    """
    texts = [block for block in _FENCED.findall(asked) if _begins(block, names)] or [asked]
    code = str(texts[-1])
    is_code = _begins(code, names) and (_parses(code) or _parses(f"{code.rstrip()}\n    pass\n"))
    return code if is_code else ""


def stubs(code: str) -> set[str]:
    """Functions whose body says nothing yet: a docstring, `pass`, `...`; those are asked for, not given."""
    tree = ast.parse(code) if _parses(code) else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and all(map(_is_empty, node.body))}


def without_stubs(code: str) -> str:
    """The code less its stubs, which would stand in for the program where tests call it by name."""
    empty = stubs(code)
    if not empty:
        return code
    body = [node for node in ast.parse(code).body if not (isinstance(node, ast.FunctionDef) and node.name in empty)]
    return ast.unparse(ast.Module(body, []))


def _begins(code: str, names: Collection[str]) -> bool:
    return any(re.search(rf"^(?:async\s+)?(?:def|class)\s+{re.escape(name)}\b", code, re.MULTILINE) for name in names)


def _is_empty(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass | ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
