"""Which program is taken from a reply, and what is refused without running it."""

from __future__ import annotations

import pytest

from fusion.rewards.code_blocks import MAX_CHARS, extract

RIGHT = "def f(x):\n    return x\n"
PROMPT = 'from math import pi\n\n\ndef f(x):\n    """Give x back."""\n'


def fenced(code: str, label: str = "python") -> str:
    return f"```{label}\n{code.rstrip()}\n```\n"


CASES = {
    "one block": (f"Sure:\n{fenced(RIGHT)}Done.", "", RIGHT),
    "no label": (fenced(RIGHT, ""), "", RIGHT),
    "tildes and another name of Python": (f"~~~ Python3\n{RIGHT}~~~", "", RIGHT),
    "an example of use comes after it": (f"{fenced(RIGHT)}Use it:\n{fenced('print(f(1))')}", "", RIGHT),
    "a result of use comes after it": (f"{fenced(RIGHT)}Use it:\n{fenced('y = f(1)')}", "", RIGHT),
    "a correction comes after it": (f"{fenced('def f(x): return 0')}No:\n{fenced(RIGHT)}", "", RIGHT),
    "another language comes after it": (f"{fenced(RIGHT)}{fenced('f() { echo; }', 'bash')}", "", RIGHT),
    "a helper in a block of its own": (
        f"{fenced('def g(x): return x')}{fenced('def f(x): return g(x)')}{fenced('f(1)')}",
        "",
        "def f(x): return g(x)\n",
    ),
    "inside a list": ("1. So:\n   ```python\n   def f(x):\n       return x\n   ```", "", RIGHT),
    "cut off within the fence": (f"```python\n{RIGHT}", "", RIGHT),
    "no fence": (RIGHT, "", RIGHT),
    "defined under if and try": ("try:\n    from g import f\nexcept ImportError:\n    f = None\n", "", "try:"),
    "continues the prompt": ("    return x\n", PROMPT, PROMPT + "    return x\n"),
    "continues the prompt in a fence": (fenced("    return x\n"), PROMPT, PROMPT + "    return x\n"),
    "repeats the prompt": (f"Sure:\n{fenced(PROMPT + '    return x')}", PROMPT, PROMPT + "    return x\n"),
}


@pytest.mark.parametrize(("reply", "prompt", "program"), CASES.values(), ids=CASES.keys())
def test_program(reply: str, prompt: str, program: str) -> None:
    extracted = extract(reply, ["f"], prompt)
    assert extracted.problem is None
    assert extracted.program is not None
    assert extracted.program.startswith(program)


def test_blocks_that_only_together_define_all_names_are_joined() -> None:
    program = extract(f"{fenced('class Pair: pass')}then\n{fenced(RIGHT)}", ["f", "Pair"]).program
    assert program == f"class Pair: pass\n\n{RIGHT}"


PROBLEMS = {
    "prose": ("I would use a loop.", "", "no code found"),
    "nothing": ("", "", "no code found"),
    "empty block": (fenced(""), "", "no code found"),
    "only another language": (fenced("def f(x): return x\n", "javascript"), "", "no code found"),
    "another function": (fenced("def g(x): return f(x)\n"), "", "no code defines f"),
    "syntax error": (fenced("def f(x) return x\n"), "", "the code does not parse"),
    "syntax error in a continuation": (fenced("    return (x\n"), PROMPT, "the code does not parse"),
    "null byte": ("def f(x):\n    return '\0'\n", "", "no code found"),
    "too deep": ("f = " + "(" * 10_000 + ")" * 10_000, "", "no code found"),
    "too long": ("#" * MAX_CHARS + "\n" + RIGHT, "", "characters"),
    "missing module": (f"import os\nfrom a_module.b import c\n{RIGHT}", "", "imports a_module"),
    "missing module within": ("def f(x):\n    import a_module\n", "", "imports a_module"),
    "missing module and a package": (f"import numpy\nimport a_module\n{RIGHT}", "", "imports a_module, which does not"),
}


@pytest.mark.parametrize(("reply", "prompt", "problem"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_problem(reply: str, prompt: str, problem: str) -> None:
    extracted = extract(reply, ["f"], prompt)
    assert extracted.program is None
    assert problem in (extracted.problem or "")
    assert extracted.is_wrong


def test_guarded_import_may_be_missing() -> None:
    reply = f"try:\n    import a_module\nexcept ImportError:\n    a_module = None\n{RIGHT}"
    assert extract(reply, ["f"]).program == reply


def test_a_package_that_exists_is_not_the_replys_fault() -> None:
    """Installed beside us or not: the sandbox has Python's library alone."""
    extracted = extract(f"import numpy as np\nfrom sortedcontainers import SortedList\n{RIGHT}", ["f"])
    assert extracted.program is None
    assert extracted.problem == "needs numpy, sortedcontainers, which the sandbox lacks"
    assert not extracted.is_wrong
