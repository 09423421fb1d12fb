"""What a gate says, and what happens when it says no."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.errors import StepFailed


@dataclass(frozen=True, slots=True)
class GateResult:
    """Example: GateResult("length", False, 0.61, 0.5, "values follow length within 40 prompts; rho 0.61")"""

    gate: str
    passed: bool | None
    """None: there was nothing to measure it on."""
    measured: float | None
    """In the gate's own unit; None: not measured."""
    limit: float
    detail: str

    def line(self) -> str:
        """The result in one line, for a log or a terminal."""
        verdict = {True: "passed", False: "FAILED", None: "not measured"}[self.passed]
        figure = "" if self.measured is None else f" {self.measured:.3g} (limit {self.limit:g})"
        return f"{self.gate}: {verdict}{figure}; {self.detail}"


def unmeasured(gate: str, limit: float, why: str) -> GateResult:
    """A gate without anything to judge by; it stops nothing, and says so."""
    return GateResult(gate, None, None, limit, why)


def demand(reward: str, results: Sequence[GateResult], override: Sequence[str]) -> None:
    """Let a reward pass that failed no gate but those overridden.

    Raises:
        StepFailed: naming each failed gate with its figure and limit, and what to type.
    """
    failed = [result for result in results if result.passed is False and result.gate not in override]
    if not failed:
        return
    names = ",".join([*override, *(result.gate for result in failed)])
    raise StepFailed(
        f"reward {reward} is not to be trusted: "
        + "; ".join(result.line() for result in failed)
        + f". Choose another reward, mend its settings, or accept it as it is with trust.override=[{names}]"
    )
