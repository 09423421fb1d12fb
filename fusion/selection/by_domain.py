"""A rule for each domain: FuseChat-3.0 treats instruction, mathematics, code and Chinese differently (section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.selection.base import Selection

if TYPE_CHECKING:
    import polars as pl


@dataclass(kw_only=True)
class ByDomain(Selection):
    """Rules by domain. Only `rules` counts; the rules' own fields say the rest.

    Example yaml:
        defaults: [by_domain, best_worst_per_source@rules.instruction, correct_vs_wrong@rules.math, _self_]
    """

    rules: dict[str, Selection] = field(default_factory=dict)
    """Domain -> rule; `other` is for domains that are not named."""

    def parts(self, domains: Sequence[str]) -> Mapping[str, Selection]:
        found = {domain: self.rules.get(domain, self.rules.get("other")) for domain in domains}
        if missing := sorted(domain for domain, rule in found.items() if rule is None):
            raise ConfigError(
                f"there are prompts of domain {missing[0]!r}, for which selection.rules has no rule (it has "
                f"{', '.join(self.rules) or 'none'}); type e.g. "
                f"+selection@selection.rules.{missing[0]}=correct_vs_wrong, or add one for `other`"
            )
        return {domain: rule for domain, rule in found.items() if rule is not None}

    def settle(self, recorded: Sequence[str]) -> None:
        for rule in self.rules.values():
            rule.settle(recorded)

    def rewards(self) -> set[str]:
        return {name for rule in self.rules.values() for name in rule.rewards()}

    def chosen(self) -> pl.Expr:
        raise NotImplementedError("the rule of each domain says")

    def rejected(self) -> pl.Expr:
        raise NotImplementedError("the rule of each domain says")
