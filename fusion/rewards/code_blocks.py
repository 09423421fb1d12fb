"""The program in a reply, and what can be said of it without running it.

Where a reply has fenced blocks, those labelled Python or nothing count. In order:

1. The last block that defines every name the tests need. Models often add a block that only shows a call; and where
   two define it, the later one is the correction.
2. All blocks together, in order, if they define every name (a helper in one, the function in another).
3. Where the prompt is code to continue: that code and the last block.

A reply without a fence is taken whole, in the same order: as a program, or as the continuation of the prompt's code.

A program is run on Python's library alone. One that imports a package that exists (`known_packages`) is not wrong but
undecided; one that imports what does not exist is wrong, whatever else it imports.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from fusion.rewards.code_reference import UNPARSABLE
from fusion.rewards.known_packages import KNOWN_PACKAGES

MAX_CHARS = 200_000
LABELS = {"", "python", "py", "python3", "python2"}
_FENCE = re.compile(r"(\s*)(`{3,}|~{3,})\s*([^\s`]*)[^`]*")


@dataclass(frozen=True, slots=True)
class Extracted:
    """A program that may be run, or why there is none. Example: Extracted(None, "no block defines area")"""

    program: str | None
    problem: str | None = None
    is_wrong: bool = True
    """Without a program: whether the reply is at fault, or the sandbox, which lacks a package."""


def extract(reply: str, needed: Sequence[str], prompt: str = "") -> Extracted:
    """The program of a reply that defines `needed`, statically checked: it parses, and its imports can be resolved.

    Args:
        prompt: code that the reply may continue.

    Example: extract("Sure:\\n```python\\ndef f(): return 1\\n```", ["f"]).program == "def f(): return 1\\n"
    """
    if len(reply) > MAX_CHARS:
        return Extracted(None, f"the reply has {len(reply)} characters, at most {MAX_CHARS} are read")
    blocks = list(_blocks(reply))
    parts = [text for label, text in blocks if label in LABELS] if blocks else [reply]
    if not any(part.strip() for part in parts):
        return Extracted(None, "no code found")
    alone = [*reversed(parts), "\n".join(parts)]
    program = next((text for text in alone if _defines(text, needed)), None)
    if program is None and prompt and _tree(prompt + parts[-1]) is not None:
        program = prompt + parts[-1]
    if program is None:
        return Extracted(None, _why_none(alone, needed, has_fence=bool(blocks)))
    missing = missing_imports(program)
    if invented := sorted(missing - KNOWN_PACKAGES):
        return Extracted(None, f"imports {', '.join(invented)}, which does not exist")
    if missing:
        return Extracted(None, f"needs {', '.join(sorted(missing))}, which the sandbox lacks", is_wrong=False)
    return Extracted(program)


def missing_imports(program: str) -> set[str]:
    """Top-level modules that `program` imports and Python's library lacks; those that a `try` guards may be missing."""
    tree = _tree(program)
    roots = {root for node in _unguarded(tree) for root in _roots(node)} if tree else set()
    return roots - sys.stdlib_module_names - {"__future__"}


def _blocks(reply: str) -> Iterator[tuple[str, str]]:
    """(label, text) of each fenced block; one that is not closed, because the reply was cut off, ends with it."""
    indent, fence, label, lines = "", "", "", list[str]()
    for line in reply.splitlines():
        match = _FENCE.fullmatch(line)
        if fence:
            if match and match[2].startswith(fence) and not match[3]:
                yield label, "\n".join(lines) + "\n"
                fence = ""
            else:
                lines.append(line.removeprefix(indent))
        elif match:
            indent, fence, label, lines = match[1], match[2], match[3].lower().strip("{}."), []
    if fence:
        yield label, "\n".join(lines) + "\n"


def _tree(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except UNPARSABLE:
        return None


def _defines(text: str, needed: Sequence[str]) -> bool:
    tree = _tree(text)
    return tree is not None and set(needed) <= set(_defined(tree.body))


def _defined(statements: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that statements bind at their own level, within `if` and `try` too."""
    for node in statements:
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
            case ast.Assign() | ast.AnnAssign():
                yield from (name.id for name in ast.walk(node) if _is_bound(name))
            case ast.If() | ast.Try() | ast.With() | ast.For() | ast.While():
                yield from _defined([child for child in ast.walk(node) if isinstance(child, ast.stmt)][1:])


def _is_bound(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _unguarded(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif not isinstance(child, ast.Try):
            yield from _unguarded(child)


def _roots(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name.partition(".")[0] for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module.partition(".")[0]]
    return []


def _why_none(texts: Sequence[str], needed: Sequence[str], has_fence: bool) -> str:
    parsed = [text for text in texts if _tree(text) is not None]
    if parsed:
        return f"no code defines {', '.join(needed)}"
    return "the code does not parse" if has_fence else "no code found"
