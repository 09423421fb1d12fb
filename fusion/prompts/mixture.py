"""Several prompt sources as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt, evenly
from fusion.prompts.filters import Refusal


@dataclass(kw_only=True)
class Mixture(Prompts):
    """Named parts, each with its own `limit`, tagger and filters; the mixture's come after theirs.

    Parts are read in turn, one prompt each, so that under a limit a part that grows adds prompts and displaces none.
    A prompt that several parts have (the same or nearly so) is kept in the first of them by `order`, wherever in the
    parts it stands; prompts of phases and data sets therefore never share a near-duplicate.

    Example yaml:
        defaults: [mixture, jsonl@parts.chat, reasoning_gym@parts.sums, _self_]
    """

    parts: dict[str, Prompts] = field(default_factory=dict)
    """Name -> source. The name leads the keys of DROP rows: `chat/file.jsonl:17`."""
    order: list[str] = field(default_factory=list, metadata={"absent_when": []})
    """All names, the one first whose prompts win; empty: filled in as the parts are listed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if odd := [name for name in self.parts if "/" in name]:
            raise ConfigError(f"prompts.parts.{odd[0]}: the name of a part holds no slash")
        if self.order and sorted(self.order) != sorted(self.parts):
            raise ConfigError(f"prompts.order is {self.order}; name each of {list(self.parts)} once")

    def resolve(self) -> None:
        if not self.parts:
            raise ConfigError("prompts.parts is empty; add parts, e.g. `jsonl@parts.chat` in the defaults list")
        self.order = self.order or list(self.parts)
        for name, part in self.parts.items():
            try:
                part.resolve()
            except ConfigError as error:
                raise ConfigError(f"prompts.parts.{name}: {error}") from error

    def read(self) -> Iterator[RawPrompt]:
        turns = {name: self.parts[name].read() for name in self._names()}
        while turns:
            for name in list(turns):
                prompt = next(turns[name], None)
                if prompt is None:
                    del turns[name]
                else:
                    yield replace(prompt, key=f"{name}/{prompt.key}")

    def admit(self, prompt: RawPrompt) -> RawPrompt | Refusal:
        name, inner = _split(prompt)
        admitted = self.parts[name].admit(inner)
        if isinstance(admitted, Refusal):
            return admitted
        return super().admit(replace(admitted, key=prompt.key))

    def precedence(self, prompt: RawPrompt) -> tuple[int, ...]:
        name, inner = _split(prompt)
        return (self._names().index(name), *self.parts[name].precedence(inner))

    def within_limit(self, prompts: Sequence[RawPrompt]) -> list[RawPrompt]:
        kept: set[str] = set()
        for name, part in self.parts.items():
            own = [prompt for prompt in prompts if prompt.key.startswith(f"{name}/")]
            inner = part.within_limit([_split(prompt)[1] for prompt in own])
            kept.update(f"{name}/{prompt.key}" for prompt in inner)
        return evenly([prompt for prompt in prompts if prompt.key in kept], self.limit)

    def _names(self) -> list[str]:
        return self.order or list(self.parts)


def _split(prompt: RawPrompt) -> tuple[str, RawPrompt]:
    """The part's name and the prompt as the part knows it."""
    name, key = prompt.key.split("/", 1)
    return name, replace(prompt, key=key)
