r"""What a reply marks as its answer: passages in bold, and the last \boxed{}."""

from __future__ import annotations

import re

_BOLD = re.compile(r"\*\*(.*?)\*\*")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_OPEN_BOX = re.compile(r"\\boxed ([^$\n]*)")


def bold(reply: str) -> list[str]:
    """Passages in bold, none longer than a line. Example: bold("It is **yes, no**.") == ["yes, no"]"""
    return _BOLD.findall(reply)


def boxed(reply: str) -> str | None:
    r"""What the last box holds; None: there is no box, or it is not closed. LaTeX's `\boxed 5` is a box too.

    Example: boxed(r"so $\boxed{\frac{1}{2}}$") == r"\frac{1}{2}"
    """
    boxes = list(_BOX.finditer(reply))
    if not boxes:
        found = _OPEN_BOX.findall(reply)
        return found[-1].strip() if found else None
    start = boxes[-1].end()
    depth = 0
    for at in range(start, len(reply)):
        depth += {"{": 1, "}": -1}.get(reply[at], 0)
        if depth == 0:
            return reply[start + 1 : at].replace("$", "")
    return None
