"""Answers that exist already: a file with one answer a row, whoever made it, in place of an engine.

Columns: `prompt` (text) or `messages`, `source`, `response`; optional `sample_index`, `prompt_id`, `domain`, `dataset`,
`reference` (gold answer or tests), `rewards` (name -> number), `finish_reason`, `num_tokens`. JSONL, JSON, Parquet.

A prompt keeps the `prompt_id` that the file gives it, in every table; without one its id is the hash of its content.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.prompts.base import RawPrompt
from fusion.prompts.columns import Columns, to_prompt
from fusion.prompts.digest import file_digest
from fusion.prompts.implied_domain import implied_domain
from fusion.prompts.rows import file_rows
from fusion.schema import prompt_id


@dataclass(kw_only=True)
class StoredColumns(Columns):
    """Names of columns; those of the prompt are `Columns`'."""

    source: str = "source"
    """Who answered."""
    default_source: str = ""
    """Who answered where the column is absent; empty: that is refused."""
    response: str = "response"
    """The answer."""
    prompt_id: str = "prompt_id"
    """The prompt's own name, a string or a number; absent, or an empty column name: the hash of its content."""
    default_domain: str = ""
    """Empty: the reference tells it (`fusion.prompts.implied_domain`)."""
    sample_index: str = "sample_index"
    """Which of a source's answers to this prompt; absent: counted in the order of the file."""
    rewards: str = "rewards"
    """Scores that came with the answer, name -> number; null: none of that name."""
    finish_reason: str = "finish_reason"
    """stop or length; absent: stop."""
    num_tokens: str = "num_tokens"
    aliases: dict[str, str] = field(default_factory=dict, metadata={"absent_when": {}})
    """Column -> its name in rows that lack it (`{response: output}`), so that files of two forms are read alike."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One row."""

    key: str
    """Names the row in errors and drops: `answers.jsonl:17`."""
    prompt: RawPrompt
    prompt_id: str
    """The file's name of the prompt, or the hash of its content."""
    source: str
    sample_index: int
    text: str
    finish_reason: str
    num_tokens: int | None
    rewards: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file holds; names in order of first appearance."""

    sources: tuple[str, ...]
    rewards: tuple[str, ...]
    rewards_of: Mapping[str, tuple[str, ...]]
    """Domain -> the rewards that any answer of it has."""
    num_answers: int


@dataclass(kw_only=True)
class StoredResponses:
    """A file of answers. Example: `replay.path=answers.jsonl.gz replay.columns.response=output`."""

    path: str = field(default=MISSING, metadata={"identity": False})
    """The file, ending in .jsonl, .json (a list) or .parquet, also .gz; where it lies bears no identity."""
    columns: StoredColumns = field(default_factory=StoredColumns)
    digest: str = ""
    """sha256 of the file; filled in when the config is read. Given by hand, the file must match it."""
    licence: str = field(default="", metadata={"identity": False})
    """Terms of the file as a data set (mit, cc-by-4.0); empty: not stated, and cards say so."""
    licences: dict[str, str] = field(default_factory=dict, metadata={"identity": False})
    """Terms of the models that answered, by source: `+replay.licences={gemma-2-9b-it: gemma}`."""

    def resolve(self) -> None:
        """Raises:
        ConfigError: the file is not there, or not the one that `digest` names.
        """
        self.digest = file_digest(self.path, self.digest)

    def answers(self) -> Iterator[StoredAnswer]:
        """All rows, in the order of the file.

        Raises:
            ConfigError: a row lacks a column or has one of another type, or two rows have one key.
        """
        counts: Counter[tuple[str, str]] = Counter()
        seen: dict[tuple[str, str, int], str] = {}
        named: dict[str, tuple[str, str]] = {}
        for key, row in file_rows(Path(self.path)):
            answer = _answer(_named_alike(row, self.columns.aliases), key, self.columns, counts)
            _check_name(answer, named)
            unit = (answer.prompt_id, answer.source, answer.sample_index)
            if unit in seen:
                raise ConfigError(
                    f"{key}: {answer.source} has answered this prompt under sample_index {answer.sample_index} already "
                    f"({seen[unit]}); give each answer its own index, or leave the column out"
                )
            seen[unit] = key
            yield answer

    def summary(self) -> Summary:
        """Names of sources and rewards; reads the file once in a process."""
        return _summary(self.path, self.digest, self)


@cache
def _summaries() -> dict[tuple[str, str], Summary]:
    return {}


def _summary(path: str, digest: str, stored: StoredResponses) -> Summary:
    key = (digest, repr(stored.columns))
    if key not in _summaries():
        sources: dict[str, None] = {}
        rewards_of: dict[str, dict[str, None]] = {}
        number = 0
        for answer in stored.answers():
            sources.setdefault(answer.source)
            rewards_of.setdefault(answer.prompt.domain, {}).update(dict.fromkeys(answer.rewards))
            number += 1
        if not number:
            raise ConfigError(f"{path} holds no answers")
        names = {domain: tuple(rewards) for domain, rewards in rewards_of.items()}
        rewards = dict.fromkeys(name for found in names.values() for name in found)
        _summaries()[key] = Summary(tuple(sources), tuple(rewards), names, number)
    return _summaries()[key]


def _named_alike(row: object, aliases: Mapping[str, str]) -> object:
    if not isinstance(row, Mapping):
        return row
    return {**row, **{name: row[other] for name, other in aliases.items() if name not in row and other in row}}


def _answer(row: object, key: str, columns: StoredColumns, counts: Counter[tuple[str, str]]) -> StoredAnswer:
    prompt = to_prompt(row, key, columns, key.rpartition(":")[0])
    assert isinstance(row, Mapping)
    name = _name(row.get(columns.prompt_id), columns.prompt_id, key)
    prompt = replace(prompt, prompt_id=name, domain=prompt.domain or implied_domain(prompt.reference))
    source = row.get(columns.source) or columns.default_source
    if not isinstance(source, str) or not source or "/" in source:
        raise ConfigError(f"{key}: {columns.source} must be a name without a slash, got {source!r}")
    text = row.get(columns.response)
    if not isinstance(text, str):
        raise ConfigError(
            f"{key}: {columns.response} must be a string, got {type(text).__name__}; set replay.columns.response"
        )
    identity = prompt.prompt_id or prompt_id(prompt.messages, prompt.reference)
    index = row.get(columns.sample_index)
    if index is None:
        index = counts[identity, source]
        counts[identity, source] += 1
    finish_reason = row.get(columns.finish_reason) or "stop"
    if finish_reason not in ("stop", "length"):
        raise ConfigError(f"{key}: {columns.finish_reason} is {finish_reason!r}; it is stop or length")
    return StoredAnswer(
        key=key,
        prompt=prompt,
        prompt_id=identity,
        source=source,
        sample_index=_whole(index, columns.sample_index, key),
        text=text,
        finish_reason=str(finish_reason),
        num_tokens=_tokens(row.get(columns.num_tokens), columns.num_tokens, key),
        rewards=_rewards(row.get(columns.rewards), columns.rewards, key),
    )


def _name(value: object, column: str, key: str) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{key}: {column} must be a name or a number, got {value!r}")
    return str(value)


def _check_name(answer: StoredAnswer, named: dict[str, tuple[str, str]]) -> None:
    """A name stands for one content: rows of two prompts under one would be judged by the gold answer of either."""
    content = prompt_id(answer.prompt.messages, answer.prompt.reference)
    first, key = named.setdefault(answer.prompt_id, (content, answer.key))
    if first != content:
        raise ConfigError(
            f"{answer.key}: prompt_id {answer.prompt_id!r} names another prompt or reference than in {key}; give each "
            "its own, or type replay.columns.prompt_id='' to go by content"
        )


def _whole(value: object, column: str, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{key}: {column} must be 0, 1, 2, ..., got {value!r}")
    return value


def _tokens(value: object, column: str, key: str) -> int | None:
    return None if value is None else _whole(value, column, key)


def _rewards(value: object, column: str, key: str) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: {column} must be an object of numbers by name, got {type(value).__name__}")
    found = {}
    for name, number in value.items():
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ConfigError(f"{key}: {column}.{name} must be a finite number, got {number!r}")
        found[str(name)] = float(number)
    return found
