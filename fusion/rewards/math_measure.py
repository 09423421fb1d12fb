"""Numbers that are more than their digits: written in a base, or measured in a unit."""

from __future__ import annotations

import re
from fractions import Fraction

from fusion.rewards.math_text import Quantity

_IN_BASE = re.compile(r"(?P<sign>-?)(?P<digits>[0-9A-Z]+)_\{?(?P<base>\d{1,2})\}?")
_DIGITS = re.compile(r"-?[0-9A-Z]+")
_SCALES = {
    "length": {
        "mm": "0.001", "cm": "0.01", "m": "1", "km": "1000", "millimeter": "0.001", "centimeter": "0.01", "meter": "1",
        "kilometer": "1000", "inch": "0.0254", "inche": "0.0254", "in": "0.0254", "foot": "0.3048", "feet": "0.3048",
        "ft": "0.3048", "yard": "0.9144", "mile": "1609.344",
    },
    "mass": {
        "mg": "0.001", "g": "1", "kg": "1000", "gram": "1", "kilogram": "1000", "ounce": "28.349523125",
        "pound": "453.59237",
    },
    "time": {
        "second": "1", "sec": "1", "s": "1", "minute": "60", "min": "60", "hour": "3600", "hr": "3600", "h": "3600",
        "day": "86400", "week": "604800",
    },
    "money": {"cent": "0.01", "penny": "0.01", "dollar": "1"},
}  # fmt: skip
"""Unit, without the s of its plural -> how many of its dimension's first."""
_UNITS = {name: (kind, Fraction(size)) for kind, names in _SCALES.items() for name, size in names.items()}


def same_in_base(gold: str, answer: str) -> bool | None:
    """Whether two plain answers are one number, where the gold answer names a base; None: it names none.

    An answer that repeats the digits without the base is right: the question asks for them.

    Example: same_in_base("221_3", "221_4") is False and same_in_base("221_3", "221") is True
    """
    one, other = _IN_BASE.fullmatch(gold), _IN_BASE.fullmatch(answer)
    if one and other:
        return _value(one) is not None and _value(one) == _value(other)
    if one and _DIGITS.fullmatch(answer):
        return answer == one["sign"] + one["digits"]
    return None


def same_measure(gold: Quantity, answer: Quantity) -> bool | None:
    """Whether two quantities with units are one; None: a unit is not known here.

    Example: 60 cents and 0.6 dollars are one, 5 cm and 5 m are not, nor 5 cm and 5 kg.
    """
    one, other = _unit(gold.unit), _unit(answer.unit)
    if one is None or other is None:
        return None
    return one[0] == other[0] and gold.value * one[1] == answer.value * other[1]


def _unit(text: str) -> tuple[str, Fraction] | None:
    name = text.strip(" .").casefold()
    return _UNITS.get(name) or _UNITS.get(name.removesuffix("s"))


def _value(match: re.Match[str]) -> int | None:
    try:
        return int(match["sign"] + match["digits"], int(match["base"]))
    except ValueError:
        return None
