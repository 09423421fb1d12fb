"""One row of somebody's data set as a prompt: which columns mean what, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.prompts.base import RawPrompt
from fusion.prompts.code_reference import asserts_in, holds_tests
from fusion.prompts.turns import Turn, read_turns


class Trailing(Choice):
    """What becomes of turns that follow a conversation's last user turn."""

    REFUSE = "refuse"
    """An error: the file was meant to hold prompts."""
    CUT = "cut"
    REFERENCE = "reference"
    """The assistant's first answer to the last user turn is the reference, unless a column gives one."""
    RESPONSE = "response"
    """That answer is the response which the data set holds, unless a column gives one."""


@dataclass(kw_only=True)
class Columns:
    """Names of columns. A column that a row lacks falls back to the default beside it; an empty name: not used."""

    prompt: str = "prompt"
    """Text of a single user message."""
    input: str = field(default="", metadata={"absent_when": ""})
    """Text that follows the prompt after an empty line (Alpaca's second column)."""
    system: str = field(default="", metadata={"absent_when": ""})
    """Text of a system message; absent or empty: none."""
    messages: str = "messages"
    """A conversation that ends with the user; wins over `prompt`. See `fusion.prompts.turns` for its forms."""
    trailing: Trailing = field(default=Trailing.REFUSE, metadata={"absent_when": Trailing.REFUSE})
    reference: str = "reference"
    """Gold answer or tests, as a string or a number, or a list of assert statements; absent or null: none exists."""
    asserts: list[str] = field(default_factory=list, metadata={"absent_when": []})
    """Columns in whose text assert statements stand; where `reference` gives nothing, these are the tests."""
    response: str = field(default="", metadata={"absent_when": ""})
    """An answer that the data set itself holds (see `fusion.prompts.existing`)."""
    tag: str = field(default="", metadata={"absent_when": ""})
    """What the data set says of a prompt's kind, for a tagger."""
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
    turns, answer = _split(_turns(row, key, columns), key, columns)
    reference = _reference(row, key, columns)
    if reference is None and columns.trailing is Trailing.REFERENCE:
        reference = answer
    if reference is None and columns.asserts:
        reference = asserts_in(*(text_of(row, column, key) for column in columns.asserts))
    return RawPrompt(
        key=key,
        messages=tuple({"role": turn.role, "content": valid_text(turn.content, turn.where, key)} for turn in turns),
        domain=text_of(row, columns.domain, key) or columns.default_domain,
        dataset=text_of(row, columns.dataset, key) or columns.default_dataset or dataset,
        reference=reference,
        tag=text_of(row, columns.tag, key),
        response=text_of(row, columns.response, key) or (answer if columns.trailing is Trailing.RESPONSE else None),
    )


def text_of(row: Mapping[str, object], column: str, key: str) -> str:
    """Text of a column; absent or null: empty.

    Raises:
        ConfigError: it is no string, or no valid Unicode.
    """
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{key}: {column} must be a string, got {type(value).__name__}")
    return valid_text(value, column, key)


def valid_text(text: str, column: str, key: str) -> str:
    """JSON can spell half of a surrogate pair, which no Parquet file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"{key}: {column} is not valid Unicode at character {error.start}") from error
    return text


def _turns(row: Mapping[str, object], key: str, columns: Columns) -> list[Turn]:
    system = text_of(row, columns.system, key)
    before = [Turn("system", system, columns.system)] if system else []
    if row.get(columns.messages) is not None:
        return before + read_turns(row[columns.messages], key, columns.messages)
    if columns.prompt not in row:
        found = ", ".join(sorted(map(str, row))) or "nothing"
        raise ConfigError(
            f"{key}: no column {columns.prompt!r} or {columns.messages!r}, only {found}; set prompts.columns.prompt"
        )
    parts = [text_of(row, columns.prompt, key), text_of(row, columns.input, key)]
    return [*before, Turn("user", "\n\n".join(part for part in parts if part), columns.prompt)]


def _split(turns: list[Turn], key: str, columns: Columns) -> tuple[list[Turn], str | None]:
    """Turns up to the last user's, and what the assistant answers to it; no user turn: nothing is asked."""
    ends = max((i + 1 for i, turn in enumerate(turns) if turn.role == "user"), default=0)
    after = turns[ends:]
    if after and columns.trailing is Trailing.REFUSE:
        raise ConfigError(
            f"{key}: {columns.messages} ends with {after[-1].role}; a prompt ends with the user: "
            "set prompts.columns.trailing=cut (or reference)"
        )
    answers = [turn.content for turn in after if turn.role == "assistant"]
    return turns[:ends], valid_text(answers[0], columns.messages, key) if answers else None


def _reference(row: Mapping[str, object], key: str, columns: Columns) -> str | None:
    value = row.get(columns.reference)
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        listed = json.dumps(value, ensure_ascii=False)
        value = listed if holds_tests(listed) else value
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        kind = type(value).__name__
        raise ConfigError(f"{key}: {columns.reference} must be a string or a number, got {kind}")
    return None if value is None else valid_text(str(value), columns.reference, key)
