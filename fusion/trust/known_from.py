"""Scores that a reward model's authors, or anybody else, recorded in a file, as known answers.

A row is an answer with `rewards` (name -> number), as `fusion.stored` has it, or a question with several answers:
`instruction`, `responses`, and `rewards_NAME`, a list of `{"score": number}`, as Magpie publishes ArmoRM's.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

from fusion.errors import ConfigError
from fusion.prompts.rows import file_rows
from fusion.trust.known_answer import KnownAnswer

MOST = 32
"""Answers of a reward that are scored again; the first of the file."""
PREFIX = "rewards_"

Recorded = tuple[str, str, str, float]
"""Reward, prompt, response, value."""


def known_from(path: str, rewards: Collection[str], tolerance: float) -> list[KnownAnswer]:
    """The recorded scores of these rewards.

    Args:
        tolerance: in standard deviations of a reward's recorded values.

    Raises:
        ConfigError: there is no such file, none of the rewards is in it, or its values do not vary.
    """
    if not Path(path).is_file():
        raise ConfigError(f"trust.known_from={path} is no file")
    found: dict[str, list[Recorded]] = defaultdict(list)
    for key, row in file_rows(Path(path)):
        for one in _recorded(row, key):
            found[one[0]].append(one)
    if not found.keys() & set(rewards):
        raise ConfigError(
            f"trust.known_from={path} has scores of {', '.join(sorted(found)) or 'no reward'}, and none of "
            f"{', '.join(rewards) or 'no rewards'}; name the file's reward in reward=[...]"
        )
    return [answer for name in sorted(found.keys() & set(rewards)) for answer in _known(path, found[name], tolerance)]


def _known(path: str, recorded: list[Recorded], tolerance: float) -> Iterator[KnownAnswer]:
    spread = statistics.pstdev(value for *_, value in recorded)
    if not spread:
        raise ConfigError(f"trust.known_from={path} has one value of {recorded[0][0]}; two that differ are needed")
    for name, prompt, response, value in islice(recorded, MOST):
        yield KnownAnswer(reward=name, prompt=prompt, response=response, value=value, tolerance=tolerance * spread)


def _recorded(row: object, key: str) -> Iterator[Recorded]:
    if not isinstance(row, Mapping):
        raise ConfigError(f"{key}: an object is expected, got {type(row).__name__}")
    match row:
        case {"prompt": str(prompt), "response": str(response), "rewards": Mapping() as values}:
            for name, value in values.items():
                if value is not None:
                    yield str(name), prompt, response, _number(value, key)
        case {"instruction": str(prompt), "responses": [*responses], **rest}:
            for column in sorted(name for name in map(str, rest) if name.startswith(PREFIX)):
                scores = rest[column]
                if not isinstance(scores, list) or len(scores) != len(responses):
                    raise ConfigError(f"{key}: {column} must be a list with one score for each of `responses`")
                for response, score in zip(responses, scores, strict=True):
                    value = score.get("score") if isinstance(score, Mapping) else score
                    yield column.removeprefix(PREFIX), prompt, str(response), _number(value, key)


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key}: a recorded score must be a finite number, got {value!r}")
    return float(value)
