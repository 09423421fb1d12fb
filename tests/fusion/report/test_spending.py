"""Forecast and actual side by side, with what there is of either."""

from __future__ import annotations

from fusion.report.build import build
from fusion.report.record import RunRecord
from fusion.report.spending import spending

NOTHING = {"tokens": None, "seconds": None, "gpu_hours": None, "disk_bytes": None, "usd": None}


def record(*steps: dict[str, object], gpu_hours: float = 4.0) -> RunRecord:
    total = {"seconds": 3700.0, "gpu_hours": gpu_hours, "usd": 9.5, "endpoints_usd": 1.5}
    return RunRecord(experiment="e", result={"spending": {"total": total, "steps": list(steps)}})


ANSWERS = {
    "step": "responses/qwen", "fingerprint": "f",
    "forecast": {"tokens": 2_000_000, "seconds": 3600.0, "gpu_hours": 4.0, "disk_bytes": 2**20, "usd": 8.0},
    "actual": {"tokens": 3_000_000, "seconds": 1800.0, "gpu_hours": 2.0, "disk_bytes": 3 * 2**20, "usd": 4.0},
}  # fmt: skip
SPLIT = {"step": "sft/train", "fingerprint": "g", "forecast": NOTHING, "actual": NOTHING | {"seconds": 1.0}}


def test_what_was_forecast_stands_under_what_it_took() -> None:
    page = build(record(ANSWERS, SPLIT))
    assert "<h2>Forecast and actual</h2>" in page
    assert "1 h 01 min, 4 GPU-hours, 9.5 USD (1.5 of it to endpoints)" in page
    assert "<td>3,000,000<small>2,000,000 forecast, ×1.5</small></td>" in page
    assert (
        "<td>30 min 00 s<small>60 min 00 s forecast, ×0.5</small></td>" in page or "1 h 00 min forecast, ×0.5" in page
    )
    assert "<td>3 MiB<small>1 MiB forecast, ×3</small></td>" in page
    assert "<tr><td>sft/train</td><td>–</td><td>1.0 s</td><td>–</td><td>–</td><td>–</td></tr>" in page


def test_columns_without_figures_are_left_out() -> None:
    found = spending(record(SPLIT, gpu_hours=0.0))
    assert found is not None
    assert found["columns"] == ["time"]
    assert not found["has_forecast"]
    assert "under what was forecast" not in build(record(SPLIT))


def test_nothing_counted_nothing_shown() -> None:
    assert spending(RunRecord(experiment="e", result={})) is None
    assert "Forecast and actual" not in build(RunRecord(experiment="e", result={}))
