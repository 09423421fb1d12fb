"""What each reward had to show on a sample of answers before it counted, and what it showed."""

from __future__ import annotations

from typing import Any

from fusion.artifact import Artifact
from fusion.report.number_text import significant
from fusion.report.record import RunRecord

VERDICTS = {True: ("passed", "gained"), False: ("failed, overridden", "lost"), None: ("not measured", "soft")}
"""Words and colour, by `passed`; a gate that failed and was not overridden leaves no run to report."""


def gates(record: RunRecord) -> list[dict[str, object]]:
    """A row a reward and gate, those of a reward in the order in which they were asked; empty: none was asked."""
    found = []
    for name, artifact in sorted(record.artifacts.items()):
        if name.startswith("trust/") and isinstance(artifact, Artifact):
            found += [_row(row) for row in artifact.read(artifact.table.schema.names).to_pylist()]
    return found


def _row(row: dict[str, Any]) -> dict[str, object]:
    verdict, colour = VERDICTS[row["passed"]]
    return {
        "reward": row["reward"],
        "gate": row["gate"].replace("_", " "),
        "verdict": verdict,
        "colour": colour,
        "measured": "" if row["measured"] is None else significant(row["measured"]),
        "limit": significant(row["limit"]),
        "detail": row["detail"],
    }
