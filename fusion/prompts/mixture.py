"""Several prompt sources as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt, evenly


@dataclass(kw_only=True)
class Mixture(Prompts):
    """Named parts, each with its own `limit`; the mixture's limit comes after theirs.

    Parts are read in turn, one prompt each, so that a part that grows adds prompts and displaces none.

    Example yaml:
        defaults: [mixture, jsonl@parts.chat, reasoning_gym@parts.sums, _self_]
    """

    parts: dict[str, Prompts] = field(default_factory=dict)
    """Name -> source. The name leads the keys of DROP rows: `chat/file.jsonl:17`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if odd := [name for name in self.parts if "/" in name]:
            raise ConfigError(f"prompts.parts.{odd[0]}: the name of a part holds no slash")

    def resolve(self) -> None:
        if not self.parts:
            raise ConfigError("prompts.parts is empty; add parts, e.g. `jsonl@parts.chat` in the defaults list")
        for part in self.parts.values():
            part.resolve()

    def read(self) -> Iterator[RawPrompt]:
        turns = {name: part.read() for name, part in self.parts.items()}
        while turns:
            for name in list(turns):
                prompt = next(turns[name], None)
                if prompt is None:
                    del turns[name]
                else:
                    yield replace(prompt, key=f"{name}/{prompt.key}")

    def within_limit(self, prompts: Sequence[RawPrompt]) -> list[RawPrompt]:
        kept: set[str] = set()
        for name, part in self.parts.items():
            own = [prompt for prompt in prompts if prompt.key.startswith(f"{name}/")]
            inner = part.within_limit([replace(prompt, key=prompt.key.removeprefix(f"{name}/")) for prompt in own])
            kept.update(f"{name}/{prompt.key}" for prompt in inner)
        return evenly([prompt for prompt in prompts if prompt.key in kept], self.limit)
