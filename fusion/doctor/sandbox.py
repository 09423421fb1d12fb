"""Whether `fusion doctor` can run a program in a sandbox."""

from __future__ import annotations

from fusion.doctor.finding import Finding, judged
from fusion.errors import EngineError
from fusion.sandbox.launch import Limits
from fusion.sandbox.session import Case, Sandbox
from fusion.schema import Outcome


def sandbox() -> Finding:
    """A warning where none works: only rewards that run programs need it, and a run refuses them without."""
    try:
        with Sandbox(Limits()) as box:
            verdict = box.judge(Case(program="def double(n): return 2 * n", tests=["assert double(2) == 4"]))
    except EngineError as error:
        found, _, remedy = str(error).partition("; type: ")
        return judged("sandbox", f"rewards that run programs are refused: {found}", advice=remedy or "make setup")
    if verdict.outcome is not Outcome.PASS:
        found = f"a program that is right got the verdict {verdict.outcome.value}: {verdict.detail}"
        return judged("sandbox", found, failure="free memory and processes of this machine, then fusion doctor")
    return judged("sandbox", "a program ran in bubblewrap, without a network")
