"""Tests of a code prompt, in the forms that the code verifier reads.

A reference is one of: Python source that asserts something; a JSON list of assert statements; or a JSON object
{"tests": source, "entry_point": name of the function under test, ...}.
"""

from __future__ import annotations

import ast
import json
import re
import warnings

_ASSERT = re.compile(r"^\s*(assert\b.+)$", re.MULTILINE)


def holds_tests(reference: str | None) -> bool:
    """Whether a reference is in one of these forms, and its Python parses; nothing is executed."""
    if reference is None or not reference.strip():
        return False
    try:
        decoded = json.loads(reference)
    except ValueError:
        return _asserts(reference)
    if isinstance(decoded, list):
        return bool(decoded) and all(isinstance(line, str) and _asserts(line) for line in decoded)
    return isinstance(decoded, dict) and isinstance(decoded.get("tests"), str) and _asserts(decoded["tests"])


def asserts_in(*texts: str) -> str | None:
    """The assert statements of one line found in texts, as a reference; None: there are none that parse.

    Example:
        asserts_in("Write add.\\n    assert add(1, 2) == 3") == '["assert add(1, 2) == 3"]'
    """
    found = dict.fromkeys(match.strip().strip("`").strip() for text in texts for match in _ASSERT.findall(text))
    lines = [line for line in found if _asserts(line)]
    return json.dumps(lines, ensure_ascii=False) if lines else None


def _asserts(source: str) -> bool:
    """Whether Python source parses and asserts something (by `assert`, or by a unittest's assert methods)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of the tests' own: invalid escapes, `is` with a literal
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(
        isinstance(node, ast.Assert) or (isinstance(node, ast.Attribute) and node.attr.startswith("assert"))
        for node in ast.walk(tree)
    )
