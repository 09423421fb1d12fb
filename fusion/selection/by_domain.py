"""A rule for each domain: FuseChat-3.0 treats instruction, mathematics, code and Chinese differently (section 3.3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.selection.base import Selection
from fusion.selection.best_of_all import BestOfAll
from fusion.selection.verdicts import Verdicts, meant

if TYPE_CHECKING:
    import polars as pl

ITS_OWN = ("window", "split")
"""Fields that every rule has for itself: what suits one domain suits no other."""


@dataclass(kw_only=True)
class ByDomain(Selection):
    """Rules by domain. Only `rules` counts; the rules' own fields say the rest, and may take this one's.

    Example yaml:
        defaults: [by_domain, best_worst_per_source@rules.instruction, correct_vs_wrong@rules.math, _self_]
        rules: {math: {rank_by: "${selection.rank_by}", seed: "${selection.seed}"}}
    """

    rules: dict[str, Selection] = field(default_factory=dict)
    """Domain -> rule; `other` is for domains that are not named."""
    known_by: dict[str, list[str]] = field(default_factory=dict, metadata={"absent_when": {}})
    """Domain -> what stands in other names that mean it: math: [math, gsm] makes `gsm8k` and `MATH-500` mathematics.
    Case does not matter; the first domain listed that fits counts."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.known_by) - set(self.rules)):
            raise ConfigError(f"selection.known_by names {unknown[0]!r}, which selection.rules does not have")

    def narrowed(self, domains: Collection[str], rewards: Collection[str]) -> Selection:
        self.parts(sorted(domains))  # each has a rule
        used = {meant(domain, self.rules, self.known_by) for domain in domains}
        rules = {domain: rule.narrowed(domains, rewards) for domain, rule in self.rules.items() if domain in used}
        known_by = {domain: parts for domain, parts in self.known_by.items() if domain in used}
        return replace(self, rules=rules, known_by=known_by)

    def by_key(self) -> Mapping[str, Selection]:
        return {f"selection.rules.{domain}": rule for domain, rule in self.rules.items()}

    def check(self) -> None:
        """Raises:
        ConfigError: a field is set here that no rule takes: it would say one thing and the rows another.
        """
        for name in (one.name for one in fields(Selection)):
            mine = getattr(self, name)
            taken = name not in ITS_OWN and any(getattr(rule, name) == mine for rule in self.rules.values())
            if not taken and mine != getattr(ByDomain(), name):
                raise ConfigError(
                    f"selection.{name} is set, but each domain has a rule of its own, and none takes it; type "
                    f"selection.rules.{next(iter(self.rules), 'math')}.{name} and so on, for each of "
                    f"{', '.join(self.rules) or 'no rules'}"
                )

    def _rule(self, domain: str) -> Selection | None:
        return self.rules.get(meant(domain, self.rules, self.known_by))

    def parts(self, domains: Sequence[str]) -> Mapping[str, Selection]:
        found = {domain: self._rule(domain) for domain in domains}
        if missing := sorted(domain for domain, rule in found.items() if rule is None):
            raise ConfigError(
                f"there are prompts of domain {missing[0]!r}, for which selection.rules has no rule (it has "
                f"{', '.join(self.rules) or 'none'}); type e.g. "
                f"+selection@selection.rules.{missing[0]}=correct_vs_wrong, or add one for `other`"
            )
        return {domain: rule for domain, rule in found.items() if rule is not None}

    def settle(self, recorded: Mapping[str, Sequence[str]]) -> None:
        """Each rule by what came with the domains that are its own: a file may rank its chats and not its sums."""
        for rule in self.rules.values():
            rule.settle({domain: names for domain, names in recorded.items() if self._rule(domain) is rule})

    def pairs_within_sources(self) -> bool:
        return any(rule.pairs_within_sources() for rule in self.rules.values() if not isinstance(rule, BestOfAll))

    def windows_on_values(self) -> bool:
        return any(rule.windows_on_values() for rule in self.rules.values() if not isinstance(rule, BestOfAll))

    def verdicts(self) -> Verdicts:
        return Verdicts(by={domain: rule.verdict_by() for domain, rule in self.rules.items()}, known_by=self.known_by)

    def for_sft_alone(self) -> Selection:
        return replace(self, rules={domain: rule.for_sft_alone() for domain, rule in self.rules.items()})

    def rewards(self) -> set[str]:
        return {name for rule in self.rules.values() for name in rule.rewards()}

    def chosen(self) -> pl.Expr:
        raise NotImplementedError("the rule of each domain says")

    def rejected(self) -> pl.Expr:
        raise NotImplementedError("the rule of each domain says")
