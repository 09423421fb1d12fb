"""What an evaluation adds to `result.json`: scores by model and domain, the gain, and the gate's decision."""

from __future__ import annotations

import pyarrow as pa

from fusion.evaluation.compare import OVERALL
from fusion.evaluation.gate import GateConfig, decide


def result_entries(evaluation: pa.Table, comparison: pa.Table, gate: GateConfig) -> dict[str, object]:
    """Entries of the result.

    Example:
        {"evaluation": {"final": {"overall": {"score": 0.58, "low": 0.51, "high": 0.65, "n": 200, "undecided": 0}}},
         "gain": {"difference": 0.25, "low": 0.19, "high": 0.31, "n": 200, "p_value": 1e-9},
         "gate": {"promoted": true, "reasons": ["overall gained 0.25 [0.19, 0.31], surely above 0.00"]}}

    Raises:
        ConfigError: final was not compared with the model that the gate names.
    """
    scores: dict[str, dict[str, object]] = {}
    for row in evaluation.to_pylist():
        scores.setdefault(row["model"], {})[row["domain"]] = _pick(row, "score", "low", "high", "n", "undecided")
    decision = decide(gate, comparison)
    entries: dict[str, object] = {
        "evaluation": scores,
        "gate": {"promoted": decision.promoted, "reasons": list(decision.reasons)},
    }
    for row in comparison.to_pylist():
        if (row["model"], row["against"], row["domain"]) == ("final", "base", OVERALL):
            entries["gain"] = _pick(row, "difference", "low", "high", "n", "p_value")
    return entries


def _pick(row: dict[str, object], *names: str) -> dict[str, object]:
    return {name: row[name] for name in names}
