"""FuseChat-3.0, mathematics and code: a verifier decides who may win or lose, the reward model ranks (section 3.3)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fusion.schema import Outcome
from fusion.selection.base import Selection

if TYPE_CHECKING:
    import polars as pl


@dataclass(kw_only=True)
class CorrectVsWrong(Selection):
    """SFT: the passing answer with the highest reward over all sources. Pair: of one source, the passing answer with
    the highest reward against the failing answer with the lowest. An error or a timeout is neither. Without a reward a
    pass ranks above a fail, and no window applies."""

    correct_by: list[str] = field(default_factory=lambda: ["math_answer"])
    """Names of verifiers; the first that applies to an answer decides."""
    unverified: bool = False
    """Whether answers to which no verifier applies may win and lose too, by reward alone."""

    def chosen(self) -> pl.Expr:
        return self._is(Outcome.PASS)

    def rejected(self) -> pl.Expr:
        return self._is(Outcome.FAIL)

    def unranked(self) -> pl.Expr:
        import polars as pl

        return (self._verdict() == Outcome.PASS.value).fill_null(value=False).cast(pl.Float32)

    def narrowed(self, domains: Collection[str], rewards: Collection[str]) -> Selection:
        there = [name for name in self.correct_by if name in rewards]
        return replace(self, correct_by=there) if there or self.unverified else self

    def verdict_by(self) -> list[str]:
        return list(self.correct_by)

    def rewards(self) -> set[str]:
        return super().rewards() | set(self.correct_by)

    def _is(self, outcome: Outcome) -> pl.Expr:
        verdict = self._verdict()
        decided = (verdict == outcome.value).fill_null(value=False)
        return decided | verdict.is_null() if self.unverified else decided

    def _verdict(self) -> pl.Expr:
        """Null where no verifier applies."""
        import polars as pl

        columns = [pl.col(f"outcome:{name}") for name in self.correct_by]
        applies = [pl.when(one != Outcome.NOT_APPLICABLE.value).then(one) for one in columns]
        return pl.coalesce(applies) if applies else pl.lit(None, pl.String)
