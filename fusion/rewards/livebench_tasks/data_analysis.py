"""LiveBench's data analysis: what a column holds, which columns of two tables join, a table in another format.

Facts: livebench/process_results/data_analysis/{cta,tablejoin,tablereformat}/utils.py.
"""

from __future__ import annotations

import ast
import re

from fusion.rewards.code_reference import UNPARSABLE, BadReference
from fusion.rewards.livebench_tasks.tables import Unreadable, is_same_table, read_table

_ASKED = re.compile(r"Please convert the Input Table from \w+ format to (\w+) format")
_PYTHON = re.compile(r"```python(.*)```")
_OPENING = re.compile(r"\A```.*\n")
_PHRASE = re.compile(r"\A\s*(?:Here|Input)\b.*?\b(?:format|table)\s*[:)]\s*", re.IGNORECASE)
"""As in "Here is the table in JSON format: ..."."""


def column_type(reply: str, gold: str) -> float | None:
    """The whole reply is the name; letters and digits count, capitals do not."""
    return float(_bare(reply) == _bare(gold)) if _bare(reply) else None


def table_join(reply: str, gold: str) -> float | None:
    """F1 of pairs of columns, to two digits: a wrong pair counts as one too many and as one that is missing."""
    wanted = _mapping(gold)
    if not wanted:
        raise BadReference(f"the gold answer is no mapping of columns: {gold[:80]!r}")
    text = reply.replace("\n", "")
    fenced = _PYTHON.search(text)
    answered = _mapping(fenced[1] if fenced else reply)
    if not answered:
        return None
    right = sum(wanted.get(name) == other for name, other in answered.items() if wanted.get(name))
    wrong = sum(bool(wanted.get(name)) and wanted[name] != other for name, other in answered.items())
    missing = sum(not answered.get(name) for name in wanted)
    return round(2 * right / (2 * right + (len(answered) - right) + wrong + missing), 2)


def table_reformat(reply: str, gold: str, question: str) -> float | None:
    """The same columns with the same values, in whatever order; the format is the one that the question asks for."""
    asked = _ASKED.search(question)
    if asked is None:
        raise BadReference("the question names no format")
    try:
        wanted = read_table(gold, asked[1].lower())
    except Unreadable as error:
        raise BadReference(f"the gold table: {error}") from error
    table = _OPENING.sub("", reply).replace("```", "").strip()
    tables = []
    for text in (table, _PHRASE.sub("", table).strip()):
        try:
            tables.append(read_table(text, asked[1].lower()))
        except Unreadable:
            continue
    return float(any(is_same_table(one, wanted) for one in tables)) if tables else None


def _bare(text: str) -> str:
    return re.sub(r"\W", "", text.lower())


def _mapping(text: str) -> dict[object, object]:
    """The Python dict that a text is; empty where it is anything else."""
    try:
        found = ast.literal_eval(text.strip())
    except (*UNPARSABLE, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
