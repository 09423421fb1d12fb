"""The three charts of the report: dots with intervals, a mirrored histogram, a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fusion.evaluation.intervals import Interval
from fusion.report.number_text import count, score, significant, span
from fusion.report.svg import WIDTH, Scale, circle, drawing, line, polyline, rect, text

ROW = 21
BINS = 28


@dataclass(frozen=True, slots=True)
class Dot:
    """One model in a dot panel."""

    label: str
    colour: str
    interval: Interval
    is_strong: bool = False


def dot_panel(dots: Sequence[Dot], label: str) -> Markup:
    """Scores in [0, 1] with 95% intervals, one row a model; a faint line marks the first row's score."""
    x = Scale(0.0, 1.0, 118, WIDTH - 42)
    bottom = ROW * len(dots) + 6
    marks = [line(x(tick), 2, x(tick), bottom, "grid") for tick in (0, 0.25, 0.5, 0.75, 1)]
    marks += [text(x(tick), bottom + 14, f"{tick:g}", "tick", "middle") for tick in (0, 0.5, 1)]
    marks.append(line(x(dots[0].interval.value), 2, x(dots[0].interval.value), bottom, "mark"))
    for i, dot in enumerate(dots):
        y = ROW * i + ROW / 2 + 3
        found = dot.interval
        tip = f"{dot.label}: {score(found.value)} {span(found.low, found.high)}"
        strong = " strong" if dot.is_strong else ""
        marks += [
            text(110, y + 4, _short(dot.label), "label" + strong, "end"),
            line(x(found.low), y, x(found.high), y, "interval", dot.colour),
            circle(x(found.value), y, 5 if dot.is_strong else 4, "dot", dot.colour, tip),
            text(WIDTH - 2, y + 4, score(found.value), "number" + strong, "end"),
        ]
    return drawing(bottom + 18, marks, label)


def mirrored_histogram(
    up: npt.NDArray[np.float64],
    down: npt.NDArray[np.float64],
    *,
    bounds: tuple[float, float],
    colour: str,
    names: tuple[str, str],
    label: str,
) -> Markup:
    """Counts of two groups on one axis: `up` above it in the source's colour, `down` below it in grey.

    Args:
        bounds: the axis, shared by the panels of one row; values outside are counted in the end bins.
        names: what the two groups are called.
    """
    x = Scale(bounds[0], bounds[1], 6, WIDTH - 6)
    edges = np.linspace(bounds[0], bounds[1], BINS + 1)
    above, below = (np.histogram(np.clip(values, *bounds), edges)[0] for values in (up, down))
    tallest = max(int(above.max()), int(below.max()), 1)
    room = 112.0
    upper = room * above.max() / max(above.max() + below.max(), 1)
    unit, axis = room / max(int(above.max()) + int(below.max()), tallest), 8 + upper
    width = (x.end - x.start) / BINS
    marks = []
    for i in range(BINS):
        left, where = x.start + i * width, f"{significant(edges[i])} to {significant(edges[i + 1])}"
        if above[i]:
            tip = f"{names[0]}: {count(above[i])} with {where}"
            marks.append(rect(left + 0.5, axis - above[i] * unit, width - 1, above[i] * unit, "bar", colour, tip))
        if below[i]:
            tip = f"{names[1]}: {count(below[i])} with {where}"
            marks.append(rect(left + 0.5, axis + 1, width - 1, below[i] * unit, "bar off", "", tip))
    marks.append(line(x.start, axis + 0.5, x.end, axis + 0.5, "axis"))
    marks += [text(x(tick), 140, significant(tick), "tick", "middle") for tick in x.ticks(5)]
    return drawing(146, marks, label)


def curve(points: Sequence[tuple[float, float]], *, colour: str, x_name: str, label: str) -> Markup:
    """A line over steps, its first and last values written beside it."""
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    low, high = min(ys), max(ys)
    pad = (high - low) * 0.06 or abs(high) * 0.06 or 0.5
    x = Scale(min(xs), max(xs), 44, WIDTH - 52)
    y = Scale(low - pad, high + pad, 128, 8)
    marks = []
    for tick in y.ticks(4):
        marks += [
            line(x.start, y(tick), x.end, y(tick), "grid"),
            text(38, y(tick) + 4, significant(tick), "tick", "end"),
        ]
    marks += [text(x(tick), 146, significant(tick), "tick", "middle") for tick in x.ticks(5)]
    marks.append(text(WIDTH - 4, 146, x_name, "tick", "end"))
    marks.append(polyline([(x(a), y(b)) for a, b in points], colour))
    if len(points) <= 80:
        marks += [
            circle(x(a), y(b), 6, "hover", colour, f"{x_name} {significant(a)}: {significant(b)}") for a, b in points
        ]
    marks.append(circle(x(xs[-1]), y(ys[-1]), 2.5, "dot", colour))
    marks.append(text(x(xs[-1]) + 6, y(ys[-1]) + 4, significant(ys[-1]), "number strong"))
    return drawing(152, marks, label)


def _short(label: str, limit: int = 17) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"
