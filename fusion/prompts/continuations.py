"""Continuations that an item gives, to be compared by how likely a model finds them: their form in a reference.

They stand under `KEY` of a reference that is a JSON object, context by context: `[[context, [continuation, ...]]]`.
A context is a text, or the messages of a conversation whose next answer the continuation begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby

KEY = "continuations"

Context = str | list[dict[str, str]]


def listed(pairs: Iterable[tuple[Context, str]]) -> list[tuple[Context, list[str]]]:
    """Pairs in a row that have the same context have it once."""
    groups = groupby(pairs, key=lambda pair: pair[0])
    return [(context, [continuation for _, continuation in group]) for context, group in groups]


def pairs_of(reference: str) -> list[tuple[Context, str]]:
    """Contexts and continuations in the order in which results are given.

    Example: pairs_of('{"continuations": [["1 + 1 =", [" 2", " 3"]]]}') == [("1 + 1 =", " 2"), ("1 + 1 =", " 3")]
    """
    return [(context, one) for context, continuations in json.loads(reference)[KEY] for one in continuations]
