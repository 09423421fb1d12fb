"""What the run was expected to take against what it took."""

from __future__ import annotations

from collections.abc import Mapping

from fusion.report.number_text import count, duration, significant
from fusion.report.record import RunRecord

MOST = 24
"""Above so many steps, the cheapest are folded."""

COLUMNS = {"tokens": "tokens", "seconds": "time", "gpu_hours": "GPU-hours", "disk_bytes": "disk", "usd": "USD"}


def spending(record: RunRecord) -> dict[str, object] | None:
    """Columns that hold anything, and of each step the forecast and the actual figure in each; None: nothing was
    counted."""
    found = record.result.get("spending")
    if not isinstance(found, Mapping) or not found["steps"]:
        return None
    entries = sorted(found["steps"], key=lambda entry: (-_of(entry, "usd"), -_of(entry, "seconds"), entry["step"]))
    columns = [name for name in COLUMNS if any(_of(entry, name) for entry in entries)]
    rows = [
        {"name": entry["step"], "cells": [_cell(name, entry["forecast"], entry["actual"]) for name in columns]}
        for entry in entries
    ]
    total = found["total"]
    parts = [duration(total["seconds"])]
    parts += [f"{significant(total['gpu_hours'])} GPU-hours"] if total["gpu_hours"] else []
    parts += [f"{significant(total['usd'])} USD"] if total["usd"] else []
    parts[-1] += f" ({significant(total['endpoints_usd'])} of it to endpoints)" if total["endpoints_usd"] else ""
    return {
        "columns": [COLUMNS[name] for name in columns],
        "rows": rows[:MOST],
        "rest": rows[MOST:],
        "total": ", ".join(parts),
        "has_forecast": any(cell["forecast"] for row in rows for cell in row["cells"]),
    }


def _of(entry: Mapping[str, Mapping[str, float | None]], name: str) -> float:
    return max(entry["forecast"][name] or 0.0, entry["actual"][name] or 0.0)


def _cell(name: str, forecast: Mapping[str, float | None], actual: Mapping[str, float | None]) -> dict[str, str]:
    told, took = forecast[name], actual[name]
    times = f"×{significant(took / told)}" if told and took else ""
    return {"forecast": _text(name, told), "actual": _text(name, took), "times": times}


def _text(name: str, value: float | None) -> str:
    if not value:
        return ""
    if name == "seconds":
        return duration(value)
    if name == "disk_bytes":
        return f"{significant(value / 2**20)} MiB"
    return count(value) if name == "tokens" else significant(value)
