"""What an answer looks like: the features that style control takes out of a comparison."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"```.*?```", re.DOTALL)
_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
_LIST = re.compile(r"^\s*(?:\d+\.|[-*+])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")


@dataclass(frozen=True, slots=True)
class Style:
    """Example: style("# A\\n**b** c") == Style(12, 4, 1, 0, 1)"""

    chars: int
    words: int
    """Stand for tokens, which differ from tokenizer to tokenizer."""
    headers: int
    lists: int
    """List items."""
    bolds: int

    @property
    def densities(self) -> tuple[float, float, float]:
        """Headers, list items and bold texts a word."""
        return tuple(count / max(1, self.words) for count in (self.headers, self.lists, self.bolds))  # type: ignore[return-value]


def style(text: str) -> Style:
    """Markup is counted outside of code blocks."""
    prose = _FENCE.sub("", text)
    counts = (len(pattern.findall(prose)) for pattern in (_HEADER, _LIST, _BOLD))
    return Style(len(text), len(text.split()), *counts)
