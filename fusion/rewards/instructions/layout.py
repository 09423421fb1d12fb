"""What a reply shows on the page: lists, sections, titles, placeholders, JSON."""

from __future__ import annotations

import json
import re

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""What a constrained response may say."""

_STAR_BULLET = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^[^\S\n]*-", re.MULTILINE)
_EMPHASIS = re.compile(r"\*([^\n*]*)\*")
_STRONG = re.compile(r"\*\*([^\n*]*)\*\*")
_FENCES = ("```json", "```Json", "```JSON", "```")


def number_bullet_lists(reply: str, *, num_bullets: int) -> bool:
    """Exactly so many lines that start with `*` or `-`; a rule (`---`) is such a line, and `**bold**` is not."""
    return len(_STAR_BULLET.findall(reply)) + len(_DASH_BULLET.findall(reply)) == num_bullets


def number_highlighted_sections(reply: str, *, num_highlights: int) -> bool:
    """At least so many non-empty `*parts*` and `**parts**`, each within a line."""
    parts = [*_EMPHASIS.findall(reply), *_STRONG.findall(reply)]
    return sum(bool(part.strip()) for part in parts) >= num_highlights


def multiple_sections(reply: str, *, section_spliter: str, num_sections: int) -> bool:
    """At least so many headings of the splitter and a number, such as "SECTION 1", anywhere in the text."""
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", reply)) >= num_sections


def json_format(reply: str) -> bool:
    """The whole reply is JSON, bare or in one fenced block."""
    text = reply.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(reply: str) -> bool:
    """A title in double angular brackets within a line: <<poem of joy>>."""
    for line in reply.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and line[start + 2 : end].lstrip("<").rstrip(">").strip():
            return True
    return False


def constrained_response(reply: str) -> bool:
    """One of the three `OPTIONS` appears, word for word."""
    return any(option in reply for option in OPTIONS)


def number_placeholders(reply: str, *, num_placeholders: int) -> bool:
    """At least so many placeholders in square brackets, each within a line: [address]."""
    return sum(_placeholders(line) for line in reply.split("\n")) >= num_placeholders


def postscript(reply: str, *, postscript_marker: str) -> bool:
    """The marker appears, in any case and anywhere; P.S. and P.P.S may have a space after a full stop."""
    marker = postscript_marker.strip()
    pattern = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}.get(marker, re.escape(marker.lower()))
    return re.search(pattern, reply.lower()) is not None


def _placeholders(line: str) -> int:
    """A walk, not a pattern: a reply stuck in "[[[[" would cost a pattern the square of its length."""
    count, start = 0, 0
    while (opened := line.find("[", start)) >= 0 and (closed := line.find("]", opened)) >= 0:
        count, start = count + 1, closed + 1
    return count
