r"""Mathematical answers as text: many spellings brought to one, and plain numbers read exactly.

`plain` undoes what JSON and Markdown did to LaTeX and what authors differ in: delimiters, spacing, `\dfrac`, `\left`,
`\text{}`, degrees, currency, thousands separators, mixed numbers, 4.5e33, set builders. Units are dropped only beside
a number (`quantity`), and they are not compared: 5 cm is 5, and is 5 m too, as in all graders of mathematics.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

_RULES: list[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        # A JSON string with single backslashes turns \frac, \times, \binom, \rho and \neq into control characters.
        (r"\x0c(?=[a-z])", r"\\f"),
        (r"\x08(?=[a-z])", r"\\b"),
        (r"\t(?=(?:imes|ext|frac|heta|an|au|o)(?![a-z]))", r"\\t"),
        (r"\r(?=(?:ight|ho|angle|ceil|floor|m)(?![a-z]))", r"\\r"),
        (r"\n(?=(?:eq|e|u|abla|otin)(?![a-z]))", r"\\n"),
        (r"(?<!\\)\\\\(?=[a-zA-Z]{2}|\$)", r"\\"),  # but \\\frac is the end of a matrix's row
        (r"\\?\$|\\[()\[\]]|\*\*|__|`|[€£¥￥]", ""),
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|limits)(?![a-zA-Z])|\\!", ""),
        (r"(?<!\\)\\[,;: ]|~|\\q?quad(?![a-zA-Z])|\s+", " "),
        (r"\{,\}", ","),
        (r"\\varnothing(?![a-zA-Z])|\\\{\s*\\\}", r"\\emptyset"),
        (r"\\[dtc]frac", r"\\frac"),
        (r"\\(?:text|mathrm|mathbf|textbf|textit|textrm|mbox|operatorname)\s*\{([^{}]*)\}", r" \1 "),
        (r"\s*\^\s*\{?\s*\\circ\s*\}?|\s*\bdegrees?\b", ""),
        (r"(?<=[\w)}\]])\s*,?\s+(?:and|or|和|或)\s+", ", "),
        (r"(?<![\w.])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\w.])", r"(\1+\\frac{\2}{\3})"),
        (r"(?<![\w.\\])(\d+(?:\.\d*)?)[eE]([-+]?\d+)(?!\w)", r"\1\\times 10^{\2}"),
        (r"(?:√|(?<![\\a-zA-Z])sqrt)\s*[({]([^(){}]*)[)}]", r"\\sqrt{\1}"),
        (r"√\s*(\d+|[a-zA-Z])", r"\\sqrt{\1}"),
        (r"(?<![\\a-zA-Z])pi(?![a-zA-Z])", r"\\pi"),
        (r"(?<![\\a-zA-Z])inf(?:inity|ty)?(?![a-zA-Z])", r"\\infty"),
        (r"^\s*(?:[a-zA-Z]\s*\\in\s*)?\\?\{\s*[a-zA-Z]\s*(?:\\mid|\\vert|\||:)\s*(.+?)\s*\\?\}\s*$", r"\1"),
    ]
]
_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": "/", "π": r"\pi ", "∞": r"\infty ", "°": r"^\circ ",
     "≤": r"\le ", "≥": r"\ge ", "∪": r"\cup ", "∈": r"\in ", "±": r"\pm ", "（": "(", "）": ")", "，": ",", "；": ";",
     "：": ":", "％": "%", "∅": r"\emptyset ", "\u00a0": " ", "\u202f": " "}
)  # fmt: skip
_CHINESE = "\u4e00-\u9fff"
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_QUANTITY = re.compile(
    rf"(?P<sign>[-+]?)\s*(?:\(?(?P<whole>\d+)\s*\+?\s*\\frac\{{(?P<n0>\d+)\}}\{{(?P<d0>\d+)\}}\)?"
    rf"|\\frac\s*(?:\{{(?P<n1>-?\d+)\}}\{{(?P<d1>\d+)\}}|(?P<n2>\d)(?P<d2>\d))"
    rf"|(?P<n3>{_DECIMAL})(?:\s*/\s*(?P<d3>\d+(?:\.\d+)?))?)\s*(?P<percent>\\?%|percent\b)?\s*"
    rf"(?P<unit>(?:/\s*)?\(?[A-Za-z{_CHINESE}\"'][A-Za-z{_CHINESE}\"'()/ .-]*(?:\^?\{{?[23²³]\}}?)?)?"
)
_WORDS = re.compile(r"[^\W\d_]+(?:[. '’-]+[^\W\d_]+)*")
_PROSE = re.compile(rf"(?<![\\\w])(?:[^\W\d_]{{2,}}\s+[^\W\d_]{{2,}}|[^\W\d_]{{4,}})(?![\w{{(])|[{_CHINESE}]{{2}}")
_VARIABLE = re.compile(r"[\d)}.][abcdeijknopqrtuvwxyz]$")  # 2k is no 2; 2m and 5 k may be
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}(?:\{[clr|]+\})?")
_CHINESE_BESIDE_NUMBER = re.compile(rf"(?<=[{_CHINESE}])(?=[-\d.$\\])|(?<=[\d%])(?=[{_CHINESE}])")
_MOST_DIGITS = 1000


@dataclass(frozen=True, slots=True)
class Quantity:
    """A plain number. `is_ratio`: written as a fraction, so a decimal can only come near it."""

    value: Fraction
    is_ratio: bool
    is_percent: bool
    unit: str


def plain(text: str) -> str:
    r"""One spelling of an answer.

    Example: plain(r"$\dfrac{1}{2}\text{ cm}$") == r"\frac{1}{2} cm"
    """
    text = text.translate(_CHARACTERS)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    if text.lstrip()[:1] not in {"(", "[", "{", "\\"}:  # (1,234) may be a pair
        text = _THOUSANDS.sub(lambda number: number[0].replace(",", ""), text)
    return text.strip().strip("=:").rstrip(".,;。 ").strip()


def key(text: str) -> str:
    """What is left of a plain answer when spelling does not count: equal keys are equal answers.

    Example: key("( B )") == key("B")
    """
    text = re.sub(r"\s+", "", text)
    if _WORDS.fullmatch(text.strip("()")):
        return text.strip("()").casefold()
    return text


def is_words(text: str) -> bool:
    """Whether a plain answer is a name or a word ("Evelyn", "even"), which no algebra can decide."""
    return len(text) > 1 and _WORDS.fullmatch(text) is not None


def is_prose(text: str) -> bool:
    """Whether an answer is a sentence, in which the mathematics must be looked for."""
    return _PROSE.search(_ENVIRONMENT.sub(" ", text)) is not None


def searchable(text: str) -> str:
    """A text in which numbers stand apart from Chinese words, as math-verify expects them to."""
    return _CHINESE_BESIDE_NUMBER.sub(" ", text)


def quantity(text: str) -> Quantity | None:
    """The number that a plain answer is, or None where it is something else.

    Example: quantity("12.5 miles per hour") == Quantity(Fraction(25, 2), False, False, "miles per hour")
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or len(text) > _MOST_DIGITS or _VARIABLE.search(text):
        return None
    numerator = Fraction(match["n0"] or match["n1"] or match["n2"] or match["n3"])
    denominator = match["d0"] or match["d1"] or match["d2"] or match["d3"]
    if denominator is not None:
        if not Fraction(denominator):
            return None
        numerator /= Fraction(denominator)
    value = numerator + int(match["whole"] or 0)
    unit = (match["unit"] or "").strip()
    return Quantity(-value if match["sign"] == "-" else value, denominator is not None, bool(match["percent"]), unit)


def same_quantity(gold: Quantity, answer: Quantity) -> bool:
    """Whether two numbers are one: 25% is 25 and 0.25 alike; a decimal equals a ratio from six digits on."""
    factors = [Fraction(1)]
    if gold.is_percent != answer.is_percent:
        factors.append(Fraction(1, 100) if answer.is_percent else Fraction(100))
    nearness = Fraction(1, 10**6) * abs(gold.value) if gold.is_ratio != answer.is_ratio else Fraction(0)
    return any(abs(answer.value * factor - gold.value) <= nearness for factor in factors)
