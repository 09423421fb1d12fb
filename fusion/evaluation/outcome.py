"""What an evaluation adds to `result.json`: scores by model and domain, gains, and the gate's decision."""

from __future__ import annotations

import pyarrow as pa

from fusion.evaluation.gate import GateConfig, decide


def result_entries(evaluation: pa.Table, comparison: pa.Table, gate: GateConfig) -> dict[str, object]:
    """Entries of the result.

    Example:
        {"evaluation": {"final": {"overall": {"score": 0.58, "low": 0.51, "high": 0.65, "n": 200, "undecided": 0}}},
         "gains": {"final - base": {"overall": {"difference": 0.25, "low": 0.19, "high": 0.31, "p_value": 1e-9}}},
         "gate": {"promoted": true, "reasons": ["overall gained 0.25 [0.19, 0.31], surely above 0.00"]}}
    """
    scores: dict[str, dict[str, object]] = {}
    for row in evaluation.to_pylist():
        scores.setdefault(row["model"], {})[row["domain"]] = _pick(row, "score", "low", "high", "n", "undecided")
    gains: dict[str, dict[str, object]] = {}
    for row in comparison.to_pylist():
        pair = f"{row['model']} - {row['against']}"
        gains.setdefault(pair, {})[row["domain"]] = _pick(row, "difference", "low", "high", "p_value")
    decision = decide(gate, comparison)
    verdict = {"promoted": decision.promoted, "reasons": list(decision.reasons)}
    return {"evaluation": scores, "gains": gains, "gate": verdict}


def _pick(row: dict[str, object], *names: str) -> dict[str, object]:
    return {name: row[name] for name in names}
