"""A conversation in the forms that data sets have, as turns of role and content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fusion.errors import ConfigError

ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
}
"""What data sets call a speaker -> what we do."""


@dataclass(frozen=True, slots=True)
class Turn:
    role: str
    content: str
    where: str
    """Names the turn in errors: `messages[2]`."""


def read_turns(turns: object, key: str, column: str) -> list[Turn]:
    """Turns of one conversation.

    Each turn is {"role", "content"} (OpenAI), {"from", "value"} (ShareGPT), or a question: a string (MT-Bench) or
    {"content"} alone (Arena-Hard).

    Args:
        key: names the row in errors.
        column: names the column in errors.

    Raises:
        ConfigError: not a list, or a turn of another form; the turn is named.
    """
    if not isinstance(turns, list) or not turns:
        raise ConfigError(f"{key}: {column} must be a non-empty list, got {type(turns).__name__}")
    return [_turn(turn, key, f"{column}[{index}]") for index, turn in enumerate(turns)]


def _turn(turn: object, key: str, where: str) -> Turn:
    if isinstance(turn, str):
        return Turn("user", turn, where)
    role, content, part = None, None, "content"
    if isinstance(turn, Mapping) and turn.get("from") is not None:
        role, content, part = turn["from"], turn.get("value"), "value"
    elif isinstance(turn, Mapping):
        role, content = turn.get("role", "user"), turn.get("content")
    if role not in ROLES:
        raise ConfigError(f"{key}: {where} must have a role out of {', '.join(ROLES)}, got {role!r}")
    if not isinstance(content, str):
        raise ConfigError(f"{key}: {where}.{part} must be a string, got {type(content).__name__}")
    return Turn(ROLES[role], content, where)
