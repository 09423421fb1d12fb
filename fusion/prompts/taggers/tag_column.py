"""The domain by the data set's own tag column, e.g. Magpie's `task_category`."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.errors import ConfigError
from fusion.prompts.taggers.base import Tagger


@dataclass(kw_only=True)
class TagColumn(Tagger):
    """Tags to domains; a tag that is not listed decides nothing, and is passed on to `otherwise`.

    Example: domains {"Math": math, "Coding & Debugging": code}
    """

    domains: dict[str, str] = field(default_factory=dict)
    otherwise: Tagger | None = None
    """Asked where the tag says nothing; null: the domain of the columns stays."""

    def __post_init__(self) -> None:
        if not self.domains:
            raise ConfigError("tagger.domains is empty; list tags and domains, e.g. tagger.domains={Math: math}")

    def domain_of(self, text: str, tag: str) -> str | None:
        if tag in self.domains:
            return self.domains[tag]
        return None if self.otherwise is None else self.otherwise.domain_of(text, tag)
