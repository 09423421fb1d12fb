"""Small pure functions that draw: scales, marks and ticks as inline SVG. Every text is escaped.

Colours are CSS variables of report.css, so that light, dark and print come from one drawing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 340
"""All charts are as wide as a phone's column; wider pages show several side by side, so text keeps its size."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from data to pixels; a domain of no width is widened."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        width = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / width * (self.end - self.start)

    def ticks(self, about: int) -> list[float]:
        """Round numbers inside the domain, roughly `about` of them."""
        width = (self.high - self.low) or 1.0
        rough = width / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 10) for i in range(first, last + 1)]


def drawing(height: float, marks: Iterable[Markup], label: str) -> Markup:
    """One SVG, `WIDTH` wide. `label` is what a screen reader says."""
    body = Markup("").join(marks)
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(WIDTH, _n(height), label, body)


def line(x1: float, y1: float, x2: float, y2: float, kind: str, colour: str = "") -> Markup:
    style = _style("stroke", colour)
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"{}/>').format(
        kind, _n(x1), _n(y1), _n(x2), _n(y2), style
    )


def rect(x: float, y: float, width: float, height: float, kind: str, colour: str = "", tip: str = "") -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"{}>{}</rect>').format(
        kind, _n(x), _n(y), _n(max(width, 0)), _n(max(height, 0)), _style("fill", colour), _tip(tip)
    )


def circle(x: float, y: float, radius: float, kind: str, colour: str = "", tip: str = "") -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"{}>{}</circle>').format(
        kind, _n(x), _n(y), _n(radius), _style("fill", colour), _tip(tip)
    )


def polyline(points: Iterable[tuple[float, float]], colour: str = "") -> Markup:
    path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return Markup('<polyline class="curve" points="{}"{}/>').format(path, _style("stroke", colour))


def text(x: float, y: float, content: str, kind: str = "", anchor: str = "start") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, _n(x), _n(y), anchor, escape(content)
    )


def _style(attribute: str, colour: str) -> Markup:
    return Markup(' style="{}:var({})"').format(attribute, colour) if colour else Markup("")


def _tip(tip: str) -> Markup:
    return Markup("<title>{}</title>").format(tip) if tip else Markup("")


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
