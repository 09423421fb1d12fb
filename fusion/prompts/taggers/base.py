"""The contract of a domain tagger."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(kw_only=True)
class Tagger(ABC):
    """Base of all taggers: pure, so that the same prompt always has the same domain. Fields bear identity."""

    @abstractmethod
    def domain_of(self, text: str, tag: str) -> str | None:
        """The domain of a prompt; None: this tagger cannot say, and the domain stays what the data set's columns give.

        Args:
            text: what its users ask, all turns.
            tag: what the data set's tag column says (`columns.tag`); empty: nothing.
        """
