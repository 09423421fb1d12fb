"""The contract of a prompt source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from fusion.errors import ConfigError
from fusion.prompts.filters import Filters, Refusal
from fusion.prompts.taggers.base import Tagger


@dataclass(frozen=True, slots=True)
class RawPrompt:
    """One prompt as its data set has it; its id is made from messages and reference.

    `key` names it in error messages and DROP rows: `file.jsonl:17`, `gcd#12`.
    """

    key: str
    messages: tuple[dict[str, str], ...]
    domain: str
    dataset: str
    reference: str | None
    tag: str = ""
    """What the data set says of its kind, for taggers."""
    response: str | None = None
    """An answer that the data set itself holds; it bears no identity (see `fusion.prompts.existing`)."""
    prompt_id: str = ""
    """Its id where it is not to be the hash of its content: stored answers keep the name that their file gives it."""

    @property
    def asked(self) -> str:
        """What its users say, all turns."""
        return "\n".join(message["content"] for message in self.messages if message["role"] == "user")


@dataclass(kw_only=True)
class Prompts(ABC):
    """Base of all prompt sources. Fields bear identity; files enter by digest."""

    limit: int = 0
    """Keep the first so many after removal of duplicates, spread evenly over domains; 0: all."""
    tagger: Tagger | None = field(default=None, metadata={"absent_when": None})
    """Says the domain where the data set does not; null: the columns' domain holds."""
    filters: Filters = field(default_factory=Filters, metadata={"absent_when": Filters()})
    """What is left out; each prompt that is becomes a DROP row with its reason."""

    licence: str = field(default="", metadata={"identity": False})
    """Identifier of the data set's terms (mit, cc-by-4.0); several joined by +; empty: not stated, and cards say so."""

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ConfigError(f"{type(self).__name__}.limit must be 0 (all) or more, got {self.limit}")

    def resolve(self) -> None:  # noqa: B027 (most sources have nothing to complete)
        """Complete what identity needs (e.g. the digest of a file); called once, before planning.

        Raises:
            ConfigError: the file is not there.
        """

    @abstractmethod
    def read(self) -> Iterator[RawPrompt]:
        """All prompts, in a stable order; a source that grows appends, so that what was kept before stays kept.

        Raises:
            ConfigError: a line is malformed or not UTF-8 (file and line number are named).
        """

    def domains(self) -> set[str] | None:
        """Domains that its prompts may have, where a config and local files say so; None: it takes a download."""
        return None

    def admit(self, prompt: RawPrompt) -> RawPrompt | Refusal:
        """The prompt with its domain, or why it is left out. Looks at no other prompt."""
        if self.tagger is not None:
            prompt = replace(prompt, domain=self.tagger.domain_of(prompt.asked, prompt.tag) or prompt.domain)
        return self.filters.refuse(prompt) or prompt

    def precedence(self, prompt: RawPrompt) -> tuple[int, ...]:
        """Of two prompts that say the same, the one with the smaller precedence is kept; equal: the one read first."""
        return ()

    def within_limit(self, prompts: Sequence[RawPrompt]) -> list[RawPrompt]:
        """The prompts that `limit` lets through, in their order. A larger limit keeps all that a smaller one kept."""
        return evenly(prompts, self.limit)


def evenly(prompts: Sequence[RawPrompt], limit: int) -> list[RawPrompt]:
    """The first `limit` prompts, taken in turn from each domain; 0: all."""
    if not limit or len(prompts) <= limit:
        return list(prompts)
    taken: dict[str, int] = {}
    turns = []
    for position, prompt in enumerate(prompts):
        turn = taken[prompt.domain] = taken.get(prompt.domain, -1) + 1
        turns.append((turn, list(taken).index(prompt.domain), position))
    return [prompts[position] for position in sorted(position for *_, position in sorted(turns)[:limit])]
