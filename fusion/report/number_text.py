"""How numbers are written: one precision everywhere, a real minus sign, figures that align."""

from __future__ import annotations

MINUS = "\u2212"


def score(value: float) -> str:
    """0.584 -> `0.58`"""
    return f"{value:.2f}"


def signed(value: float) -> str:
    """-0.12 -> `−0.12`, 0.25 -> `+0.25`, 0 -> `0.00`"""
    text = f"{abs(value):.2f}"
    if float(text) == 0.0:
        return text
    return ("+" if value > 0 else MINUS) + text


def span(low: float, high: float) -> str:
    """`[0.51, 0.65]`"""
    return f"[{low:.2f}, {high:.2f}]".replace("-", MINUS)


def signed_span(low: float, high: float) -> str:
    """`[−0.01, +0.09]`"""
    return f"[{signed(low)}, {signed(high)}]"


def count(value: float) -> str:
    """2400 -> `2,400`"""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """0.614 -> `61%`; a little is never none, and nearly all is never all."""
    rounded = round(100 * share)
    if 0 < share < 1 and rounded in (0, 100):
        return "<1%" if rounded == 0 else ">99%"
    return f"{rounded}%"


def p_value(value: float) -> str:
    """0.00002 -> `<0.001`"""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def duration(seconds: float) -> str:
    """75 -> `1 min 15 s`"""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def significant(value: float) -> str:
    """A number of unknown size with three significant figures: 0.00123, 1.23, 1,230, 5e−05."""
    text = count(value) if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", MINUS)
