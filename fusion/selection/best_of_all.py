"""SFT alone: the answer with the highest reward over all sources; FuseChat-3.0's Chinese data (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fusion.selection.base import Selection, Split, WithoutPair

if TYPE_CHECKING:
    import polars as pl


@dataclass(kw_only=True)
class BestOfAll(Selection):
    """Every prompt with a usable answer trains SFT; none makes a pair."""

    split: Split = field(default_factory=lambda: Split(sft_frac=1.0, without_pair=WithoutPair.SFT))

    def chosen(self) -> pl.Expr:
        import polars as pl

        return pl.lit(value=True)

    def rejected(self) -> pl.Expr:
        import polars as pl

        return pl.lit(value=False)
