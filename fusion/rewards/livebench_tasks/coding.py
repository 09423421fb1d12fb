"""LiveBench's coding: a contest problem to solve, or a program to complete; all cases must pass.

Facts: livebench/process_results/coding/utils.py, livebench/lcb_runner/utils/extraction_utils.py.
"""

from __future__ import annotations

FENCE = "```"


def program(reply: str, partial: str) -> str | None:
    """What stands between the first two lines with a fence, after the given part, which a reply is not to repeat.

    None: there are no two.

    Example: program("```python\\n    return n\\n```", "def f(n):") == "def f(n):\\n    return n"
    """
    lines = reply.split("\n")
    fences = [number for number, line in enumerate(lines) if FENCE in line]
    if len(fences) < 2:
        return None
    code = "\n".join(lines[fences[0] + 1 : fences[1]])
    return f"{partial}\n{code}" if partial and not code.startswith(partial) else code
