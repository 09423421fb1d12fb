"""FuseChat-3.0, instruction following: any answer may win or lose, the reward model decides (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.selection.base import Selection

if TYPE_CHECKING:
    import polars as pl


@dataclass(kw_only=True)
class BestWorstPerSource(Selection):
    """SFT: the answer with the highest reward over all sources. Pair: best against worst answer of one source."""

    def chosen(self) -> pl.Expr:
        import polars as pl

        return pl.lit(value=True)

    def rejected(self) -> pl.Expr:
        import polars as pl

        return pl.lit(value=True)
