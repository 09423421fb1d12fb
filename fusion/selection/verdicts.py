"""Which verifiers tell right from wrong, by domain: what a rule knows of that, without what it selects by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from fusion.prompts.implied_domain import is_named

OTHER = "other"
"""Stands for domains that are not named."""


@dataclass(kw_only=True)
class Verdicts:
    """Example: Verdicts(by={"math": ["math_answer"], "other": []}, known_by={"math": ["gsm"]}).of("gsm8k")"""

    by: dict[str, list[str]] = field(default_factory=dict)
    """Domain -> names of verifiers in order: the first that applies to an answer decides."""
    known_by: dict[str, list[str]] = field(default_factory=dict)
    """As `ByDomain` has it."""

    def of(self, domain: str) -> list[str]:
        return self.by.get(meant(domain, self.by, self.known_by), [])


def meant(domain: str, names: Collection[str], known_by: Mapping[str, Sequence[str]]) -> str:
    """The one of `names` that a domain means: itself, or the first with a part that stands in it, or `other`."""
    if domain in names:
        return domain
    return next((known for known, parts in known_by.items() if is_named(domain, parts)), OTHER)
