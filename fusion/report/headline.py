"""What was fused into what, what was gained, and whether it may be promoted."""

from __future__ import annotations

from collections.abc import Mapping

from fusion.evaluation.compare import OVERALL, ROLES
from fusion.report.number_text import p_value, score, signed, signed_span, span
from fusion.report.palette import Palette
from fusion.report.record import RunRecord

NAMES = {"base": "before", "sft": "after SFT", "final": "final"}


def headline(record: RunRecord, palette: Palette) -> dict[str, object]:
    """Context of the report's head; `scores`, `gain` and `gate` are absent where nothing was evaluated."""
    found: dict[str, object] = {
        "experiment": record.experiment,
        "target": record.target or record.experiment,
        "sources": [{"name": name, "colour": palette[name]} for name in record.sources],
    }
    if record.evaluation is not None:
        rows = {row["model"]: row for row in record.evaluation.read().to_pylist() if row["domain"] == OVERALL}
        domains = {row["domain"] for row in record.evaluation.read(["domain"]).to_pylist()} - {OVERALL}
        found["num_domains"] = len(domains)
        found["scores"] = [
            {
                "name": NAMES[role],
                "colour": palette[role],
                "score": score(rows[role]["score"]),
                "span": span(rows[role]["low"], rows[role]["high"]),
                "is_strong": role == "final",
            }
            for role in ROLES
            if role in rows
        ]
    if (gain := overall_gain(record)) is not None:
        found["gain"] = {
            "value": signed(gain["difference"]),
            "span": signed_span(gain["low"], gain["high"]),
            "p_value": p_value(gain["p_value"]),
            "prompts": gain["n"],
            "wins": gain["wins"],
            "losses": gain["losses"],
        }
    gate = record.result.get("gate")
    if isinstance(gate, Mapping) and gate:
        found["gate"] = {"promoted": bool(gate["promoted"]), "reasons": [str(reason) for reason in gate["reasons"]]}
    return found


def overall_gain(record: RunRecord) -> dict[str, float] | None:
    """The COMPARISON row of final minus base, mean over domains. None: they were not compared."""
    if record.comparison is None:
        return None
    for row in record.comparison.read().to_pylist():
        if (row["model"], row["against"], row["domain"]) == ("final", "base", OVERALL):
            return dict(row)
    return None
