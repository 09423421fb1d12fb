"""FuseChat-3.0, mathematics and code: a verifier decides who may win or lose, the reward model ranks (section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.schema import Outcome
from fusion.selection.base import Selection

if TYPE_CHECKING:
    import polars as pl


@dataclass(kw_only=True)
class CorrectVsWrong(Selection):
    """SFT: the passing answer with the highest reward over all sources. Pair: of one source, the passing answer with
    the highest reward against the failing answer with the lowest. An error or a timeout is neither."""

    correct_by: str = "math_answer"
    """Name of the verifier."""

    def chosen(self) -> pl.Expr:
        import polars as pl

        return pl.col(f"outcome:{self.correct_by}") == Outcome.PASS.value

    def rejected(self) -> pl.Expr:
        import polars as pl

        return pl.col(f"outcome:{self.correct_by}") == Outcome.FAIL.value

    def rewards(self) -> set[str]:
        return {self.rank_by, self.correct_by}
