"""Benchmarks: a panel of dots for each, published numbers beside ours, and the tables that the terminal shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from fusion.report.palette import Palette
from fusion.report.record import RunRecord
from fusion.report.svg import WIDTH, Scale, circle, drawing, line, text

Entry = Mapping[str, object]
ROW = 21
LABEL = 118


def benchmarks(record: RunRecord, palette: Palette) -> dict[str, object] | None:
    """Context of the section, from the result's entry `benchmarks`; None: none were run."""
    found = record.result.get("benchmarks")
    if not isinstance(found, Mapping):
        return None
    panels = []
    for name, about in found["about"].items():
        entries = [entry for entry in found["scores"] if entry["benchmark"] == name]
        if entries:
            note = f"rings: published ({about['published_in']})" if _published(entries) else ""
            items = f"{max(entry['n'] for entry in entries):,} items"
            panels.append({"title": about["title"], "n": items, "chart": _panel(entries, about, palette), "note": note})
    return {"panels": panels, "tables": found["tables"], "notes": found["notes"]}


def models(result: Mapping[str, object]) -> list[str]:
    """Names of all models in the scores."""
    found = result.get("benchmarks")
    return sorted({str(one["model"]) for one in found["scores"]}) if isinstance(found, Mapping) else []


def _published(entries: Sequence[Entry]) -> bool:
    return any(entry["published"] is not None for entry in entries)


def _panel(entries: Sequence[Entry], about: Entry, palette: Palette) -> Markup:
    """One row a model: a dot with its interval, and a ring where somebody published a number."""
    x = Scale(*_bounds(entries, about), LABEL, WIDTH - 42)
    bottom = ROW * len(entries) + 6
    marks = [line(x(tick), 2, x(tick), bottom, "grid") for tick in x.ticks(4)]
    marks += [text(x(tick), bottom + 14, f"{tick:g}", "tick", "middle") for tick in x.ticks(4)]
    for i, entry in enumerate(entries):
        y, printed = ROW * i + ROW / 2 + 3, entry["printed"]
        assert isinstance(printed, Mapping)
        model, colour = str(entry["model"]), palette[str(entry["model"])]
        tip = f"{model}: {printed['value']:.1f} [{printed['low']:.1f}, {printed['high']:.1f}]"
        marks += [
            text(LABEL - 8, y + 4, model if len(model) <= 17 else f"{model[:16]}…", "label", "end"),
            line(x(printed["low"]), y, x(printed["high"]), y, "interval", colour),
            circle(x(printed["value"]), y, 4, "dot", colour, tip),
            text(WIDTH - 2, y + 4, f"{printed['value']:.1f}", "number", "end"),
        ]
        if entry["published"] is not None:
            known = float(str(entry["published"]))
            marks.append(circle(x(known), y, 6, "ring", "", f"{model}, published: {known:.1f}"))
    return drawing(bottom + 18, marks, f"scores on {about['title']}")


def _bounds(entries: Sequence[Entry], about: Entry) -> tuple[float, float]:
    """As much of the scale as is used, a little more, and never less than a tenth of it."""
    low, high = float(str(about["low"])), float(str(about["high"]))
    values = [float(str(entry["published"])) for entry in entries if entry["published"] is not None]
    for entry in entries:
        printed = entry["printed"]
        assert isinstance(printed, Mapping)
        values += [printed["low"], printed["high"]]
    margin = max((max(values) - min(values)) * 0.05, (high - low) * 0.02)
    return max(low, min(values) - margin), min(high, max(values) + margin)
