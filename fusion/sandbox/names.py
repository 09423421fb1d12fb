"""Which names Python sources use without defining them: for tests, the names of the program."""

from __future__ import annotations

import ast
import builtins
import sys
import typing
from collections.abc import Collection, Sequence

STANDARD = sys.stdlib_module_names | set(typing.__all__)
"""Names that tests may lean on without importing them; both sides have Python's own."""


def used_and_bound(sources: Sequence[str]) -> tuple[list[str], set[str]]:
    """Names read, in the order of the text, and names that the sources give a meaning themselves, anywhere.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: a source is no Python.
    """
    used: list[tuple[int, int, int, str]] = []
    bound: set[str] = set()
    for number, source in enumerate(sources):
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Name(id=name, ctx=ast.Load()):
                    used.append((number, node.lineno, node.col_offset, name))
                case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    bound.add(name)
                case ast.ExceptHandler(name=str(name)):
                    bound.add(name)
                case ast.alias(name=name, asname=alias):
                    bound.add(alias or name.partition(".")[0])
    return list(dict.fromkeys(name for *_, name in sorted(used))), bound


def free_names(sources: Sequence[str], given: Collection[str] = ()) -> list[str]:
    """What `sources` use and neither they, nor Python, nor `given` define, in order.

    Example: free_names(["assert area(Pair(2, 3)) == sum([6])"]) == ["area", "Pair"]
    """
    used, bound = used_and_bound(sources)
    known = bound | set(given) | STANDARD
    return [name for name in used if name not in known and not hasattr(builtins, name)]
