"""One domain for every prompt of a source."""

from __future__ import annotations

from dataclasses import dataclass

from omegaconf import MISSING

from fusion.prompts.taggers.base import Tagger


@dataclass(kw_only=True)
class Constant(Tagger):
    """Overrides the data set's own domain column."""

    domain: str = MISSING

    def domain_of(self, text: str, tag: str) -> str | None:
        return self.domain
