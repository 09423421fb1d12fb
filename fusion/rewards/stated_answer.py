r"""The answer that a reply states in so many words, and how it states it.

The first of these forms that is there; of several places of one form, the last. The text may be empty (`"answer": ""`):

1. JSON: the value of an "answer" key, in a whole, cut or malformed object (`{"reasoning": ..., "answer": "42"}`).
2. Boxed: `\boxed{...}`; neighbours that only commas, "and" or "or" part are one answer: `\boxed{1}` or `\boxed{2}`.
3. Tag: `<answer>...</answer>` or `[ANSWER]...[/ANSWER]`.
4. Hashes: `#### ...`.
5. Statement: "answer is ...", "answer: ...", `答案是 ...`; the text goes on to the end of the reply.

A reply that does none of this may still mean something (its last number); that is for each verifier to judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

_END = r"\s*(?:[}\n]|,\s*(?:[\"'\n}]|$)|```|</s>|$)"
_KEY = re.compile(r"answer\\?[\"'”]\s*:[ \t]*", re.IGNORECASE)
_STRING = re.compile(rf"(?P<quote>\\?[\"'])(?P<body>(?:(?!(?P=quote){_END})(?:\\.|.))*+)(?P=quote)", re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\"'\\/bfnrt]))")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_BOX_OR_BRACE = re.compile(r"(?P<box>\\(?:boxed|fbox|framebox)\s*\{)|(?<!\\)[{}]")
_BETWEEN_BOXES = re.compile(r"(?:[\s,;$&]|\\[()\[\],;]|\\q?quad|\\text\s*\{\s*(?:and|or)\s*\}|and|or|和|或)*")
_TAG = re.compile(r"[<\[](?P<closes>/?)answer[>\]]", re.IGNORECASE)
_HASHES = re.compile(r"####\s*(.+)")
_STATEMENT = re.compile(
    r"\banswer\b[\"'”*_]*\s*(?:is|are|:|=|：)+[*_]*(?!\s*not\b)|答案[*]*(?:是|为|应为|：|:)+[*]*", re.IGNORECASE
)


class Form(StrEnum):
    JSON = "json"
    BOXED = "boxed"
    TAG = "tag"
    HASHES = "hashes"
    STATEMENT = "statement"


@dataclass(frozen=True, slots=True)
class Stated:
    """A stated answer.

    Example: stated_answer("So it is 7. #### 7") == Stated(Form.HASHES, "7")
    """

    form: Form
    text: str


def stated_answer(reply: str) -> Stated | None:
    """What the reply states as its answer, or None where it states none."""
    reply = without_reasoning(reply)
    for form, find in _FORMS.items():
        text = find(reply)
        if text is not None:
            return Stated(form, text)
    return None


def without_reasoning(reply: str) -> str:
    """What follows a reply's private reasoning; nothing does where the reasoning was cut off.

    Example: without_reasoning("<think>5? No.</think>It is 7.") == "It is 7."
    """
    _, closed, after = reply.rpartition("</think>")
    if closed:
        return after
    return "" if reply.lstrip().startswith("<think>") else reply


def opens_json(reply: str) -> bool:
    """Whether the reply is, or was to be, a JSON object with an answer.

    Example: opens_json('{"reasoning": "First, 3 + 4') is True
    """
    return re.match(r"\s*(?:```\s*json)?\s*\{\s*\"", reply, re.IGNORECASE) is not None


def _json_answer(reply: str) -> str | None:
    """The value of the last "answer" key: a string's content, or a Python literal of what else it is."""
    keys = list(_KEY.finditer(reply))
    if not keys:
        return None
    start = keys[-1].end()
    if string := _STRING.match(reply, start):
        return _ESCAPE.sub(_unescaped, string["body"])
    try:
        value, end = json.JSONDecoder(strict=False).raw_decode(reply, start)
        if re.compile(_END).match(reply, end):
            return None if value is None else repr(value)
    except (ValueError, RecursionError):
        pass
    return _rest_of_line(reply[start:])


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _ESCAPED.get(escape[2], escape[2])


def _rest_of_line(text: str) -> str:
    """A value without quotes, or whose quotes never end, less the braces that close the object."""
    line = re.split(r"\n|```|</s>", text, maxsplit=1)[0].strip().removesuffix(",")
    while line.endswith("}") and line.count("}") > line.count("{"):
        line = line[:-1].strip()
    return line.lstrip("\"'")


def _boxed(reply: str) -> str | None:
    boxes = sorted(_boxes(reply))
    if not boxes:
        return None
    first = len(boxes) - 1
    while first and _BETWEEN_BOXES.fullmatch(reply, boxes[first - 1][1], boxes[first][0]):
        first -= 1
    return ", ".join(content for _, _, content in boxes[first:])


def _boxes(reply: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, content) of each box that is closed, in one pass: replies may repeat `\\boxed{` to their end."""
    opened: list[re.Match[str]] = []
    for match in _BOX_OR_BRACE.finditer(reply):
        if match[0] != "}":
            opened.append(match)
        elif opened and (opening := opened.pop())["box"]:
            yield opening.start(), match.end(), reply[opening.end() : match.start()].strip()


def _tagged(reply: str) -> str | None:
    end = None
    for tag in reversed(list(_TAG.finditer(reply))):
        if tag["closes"]:
            end = tag.start()
        elif end is not None:
            return reply[tag.end() : end].strip()
    return None


def _after_hashes(reply: str) -> str | None:
    found = _HASHES.findall(reply)
    return str(found[-1]).strip() if found else None


def _statement(reply: str) -> str | None:
    found = list(_STATEMENT.finditer(reply))
    return reply[found[-1].end() :].strip() if found else None


_FORMS: dict[Form, Callable[[str], str | None]] = {
    Form.JSON: _json_answer,
    Form.BOXED: _boxed,
    Form.TAG: _tagged,
    Form.HASHES: _after_hashes,
    Form.STATEMENT: _statement,
}
