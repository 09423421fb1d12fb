r"""LiveBench's AMPS_Hard: what the last box of a reply holds is equal to the gold formula, or within 0.001 of it.

Facts: livebench/process_results/math/AMPS_Hard/utils.py. Its comparison is sympy's; here it is `math_equality`'s, which
reads more notations. Runs in a child process, as `math_answer` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fusion.rewards.livebench_tasks.marked import boxed
from fusion.rewards.math_equality import judge
from fusion.schema import Outcome

NEAR = 0.001
_CONSTANT = re.compile(r"\+ ?C")
"""Of an integral; gold answers have none."""


def answered(reply: str) -> str | None:
    r"""The formula that the reply gives, without what it is called and without a constant of integration.

    Example: answered(r"Thus $\boxed{F(x) = x^2 + C}$") == "x^2"
    """
    found = boxed(_CONSTANT.sub("", reply))
    return None if found is None else found.rpartition("=")[2].strip()


def load() -> Callable[[dict[str, object]], object]:
    """The child's side: `{"gold", "answer"}` -> `{"outcome", "detail"}`."""
    import logging

    logging.disable(logging.CRITICAL)  # math-verify warns that its own deadline is off

    def score(question: dict[str, object]) -> object:
        gold, answer = str(question["gold"]), str(question["answer"])
        verdict = judge(gold, rf"\boxed{{{answer}}}", False)
        if verdict.outcome is Outcome.FAIL and is_near(gold, answer):
            return {"outcome": Outcome.PASS, "detail": None}
        return {"outcome": verdict.outcome, "detail": verdict.detail}

    judge("x+1", "1+x", False)  # builds the grammar now, not under the first question's deadline
    return score


def is_near(gold: str, answer: str) -> bool:
    r"""Whether both are numbers and differ by less than NEAR. Example: is_near(r"\frac{1}{3}", "0.3333") is True"""
    from math_verify import LatexExtractionConfig, parse

    one, other = (
        parse(f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
        for text in (gold, answer)
    )
    try:
        return bool(one and other) and abs(complex((one[0] - other[0]).evalf())) < NEAR
    except (TypeError, AttributeError, ValueError):  # a set, a relation, a formula with letters
        return False
