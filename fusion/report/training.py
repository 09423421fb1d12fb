"""Curves of both training phases, as their checkpoints' manifests hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusion.report.charts import curve
from fusion.report.record import RunRecord

SERIES = {
    "loss": ("loss",),
    "accuracy: chosen above rejected": ("accuracy", "rewards/accuracies", "accuracies"),
    "margin of implicit rewards": ("margin", "rewards/margins", "margins"),
}
"""What is drawn -> the names it may have in a curve; TRL's are the ones with a slash."""

PHASES = {"sft": "SFT", "final": "preference optimisation"}


def training(record: RunRecord) -> list[dict[str, object]]:
    """A row of panels for each phase with a curve of at least two points."""
    found: list[dict[str, object]] = []
    for role in sorted(record.checkpoints, key=lambda role: (role != "sft", role)):
        metrics = record.checkpoints[role].manifest.get("metrics")
        steps = metrics.get("curve") if isinstance(metrics, Mapping) else None
        panels = _panels(steps, role) if isinstance(steps, list) else []
        if panels:
            found.append({"phase": PHASES.get(role, role), "panels": panels})
    return found


def _panels(steps: Sequence[Mapping[str, float]], role: str) -> list[dict[str, object]]:
    colour = "--sft" if role == "sft" else "--final"
    panels: list[dict[str, object]] = []
    for title, names in SERIES.items():
        points = [(float(s["step"]), float(s[name])) for s in steps for name in names if s.get(name) is not None]
        if len(points) > 1:
            panels.append(
                {"title": title, "chart": curve(points, colour=colour, x_name="step", label=f"{role} {title}")}
            )
    return panels
