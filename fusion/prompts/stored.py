"""The prompts of a file of answers, each once; see `fusion.stored`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt
from fusion.stored import StoredResponses


@dataclass(kw_only=True)
class Stored(Prompts):
    """A prompt that several sources answered is read once, under the name of its first row."""

    stored: StoredResponses | None = None
    """The file; null: the run's `replay`."""

    def resolve(self) -> None:
        self._file().resolve()

    def read(self) -> Iterator[RawPrompt]:
        seen: set[str] = set()
        for answer in self._file().answers():
            if answer.prompt_id not in seen:
                seen.add(answer.prompt_id)
                yield answer.prompt

    def _file(self) -> StoredResponses:
        if self.stored is None:
            raise ConfigError("prompts=stored has no file; type replay.path=answers.jsonl")
        return self.stored
