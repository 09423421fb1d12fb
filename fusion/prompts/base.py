"""The contract of a prompt source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar


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


@dataclass(kw_only=True)
class Prompts(ABC):
    """Base of all prompt sources. Fields bear identity; files enter by digest."""

    limit: int = 0
    """Keep the first so many after removal of duplicates, spread evenly over domains; 0: all."""
    kind: ClassVar[str] = "prompts"

    def resolve(self) -> None:
        """Complete what identity needs (e.g. the digest of a file); called once, before planning.

        Raises:
            ConfigError: the file is not there.
        """

    @abstractmethod
    def read(self) -> Iterator[RawPrompt]:
        """All prompts, in a stable order.

        Raises:
            ConfigError: a line is malformed or not UTF-8 (file and line number are named).
        """
