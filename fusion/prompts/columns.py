"""One row of somebody's data set as a prompt: which columns mean what, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fusion.errors import ConfigError
from fusion.prompts.base import RawPrompt

ROLES = ("system", "user", "assistant")


@dataclass(kw_only=True)
class Columns:
    """Names of columns. A column that a row lacks falls back to the default beside it."""

    prompt: str = "prompt"
    """Text of a single user message."""
    messages: str = "messages"
    """A conversation (list of role and content) that ends with the user; wins over `prompt`."""
    reference: str = "reference"
    """Gold answer or tests, as a string or a number; absent or null: none exists."""
    domain: str = "domain"
    dataset: str = "dataset"
    default_domain: str = "instruction"
    default_dataset: str = ""
    """Empty: the name of the file or data set."""


def to_prompt(row: object, key: str, columns: Columns, dataset: str) -> RawPrompt:
    """Check one row. Empty text passes: it becomes a DROP row, not an error.

    Args:
        key: names the row in errors and DROP rows, e.g. `file.jsonl:17`.
        dataset: used when neither the row nor the config names one.

    Raises:
        ConfigError: a column is missing or has another type.

    Example:
        to_prompt({"prompt": "What is 3 + 4?", "reference": "7"}, "sums.jsonl:1", Columns(), "sums")
    """
    if not isinstance(row, Mapping):
        raise ConfigError(f"{key}: expected an object with columns, got {type(row).__name__}")
    reference = row.get(columns.reference)
    if isinstance(reference, bool) or not isinstance(reference, str | int | float | None):
        kind = type(reference).__name__
        raise ConfigError(f"{key}: {columns.reference} must be a string or a number, got {kind}")
    return RawPrompt(
        key=key,
        messages=_messages(row, key, columns),
        domain=_text(row, columns.domain, key) or columns.default_domain,
        dataset=_text(row, columns.dataset, key) or columns.default_dataset or dataset,
        reference=None if reference is None else _unicode(str(reference), columns.reference, key),
    )


def _messages(row: Mapping[str, object], key: str, columns: Columns) -> tuple[dict[str, str], ...]:
    turns = row.get(columns.messages)
    if turns is None:
        if columns.prompt not in row:
            found = ", ".join(sorted(map(str, row))) or "nothing"
            raise ConfigError(
                f"{key}: no column {columns.prompt!r} or {columns.messages!r}, only {found}; set prompts.columns.prompt"
            )
        return ({"role": "user", "content": _text(row, columns.prompt, key)},)
    if not isinstance(turns, list) or not turns:
        raise ConfigError(f"{key}: {columns.messages} must be a non-empty list, got {type(turns).__name__}")
    messages = []
    for index, turn in enumerate(turns):
        where = f"{columns.messages}[{index}]"
        if not isinstance(turn, Mapping) or turn.get("role") not in ROLES:
            raise ConfigError(f"{key}: {where} must have a role out of {', '.join(ROLES)}")
        if not isinstance(turn.get("content"), str):
            raise ConfigError(f"{key}: {where}.content must be a string, got {type(turn.get('content')).__name__}")
        messages.append({"role": str(turn["role"]), "content": _unicode(turn["content"], where, key)})
    if messages[-1]["role"] != "user":
        raise ConfigError(f"{key}: {columns.messages} ends with {messages[-1]['role']}; a prompt ends with the user")
    return tuple(messages)


def _text(row: Mapping[str, object], column: str, key: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{key}: {column} must be a string, got {type(value).__name__}")
    return _unicode(value, column, key)


def _unicode(text: str, column: str, key: str) -> str:
    """JSON can spell half of a surrogate pair, which no Parquet file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{key}: {column} is not valid Unicode at character {error.start}") from error
    return text
