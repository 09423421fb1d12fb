"""Split: prompts of one phase of training. For recipes whose preference data needs the model that SFT makes.

FuseChat-3.0 splits prompts when it selects, because both phases read the same answers (`fusion.selection.base.Split`).
WRPO's target answers the prompts of the second phase itself, after SFT, so these must be known before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.artifact import Receipt
from fusion.choice import Choice
from fusion.runtime import Runtime
from fusion.schema import Reason
from fusion.work import Work


class Phase(Choice):
    SFT = "sft"
    PREFERENCE = "preference"


@dataclass(kw_only=True)
class SplitConfig:
    """Which prompts go on."""

    phase: Phase
    sft_frac: float
    """Share of the prompts that train SFT, in each data set: the first int(share * N) in seeded order."""
    seed: int = 42


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """PROMPT -> PROMPT; the prompts of the other phase are dropped as such."""
    import polars as pl

    from fusion.selection.scored import drawn, is_first_share

    for work in works:
        config, out, table = work.step.config, work.rows_out, work.table_in("prompts").read()
        assert isinstance(config, SplitConfig)
        frame = pl.from_arrow(table.select(["prompt_id", "dataset"]))
        assert isinstance(frame, pl.DataFrame)
        is_sft = drawn(frame, config.seed).with_columns(is_first_share(config.sft_frac).alias("is_sft"))
        wanted = set(is_sft.filter(pl.col("is_sft") == (config.phase is Phase.SFT))["prompt_id"])
        keys = table["prompt_id"].to_pylist()
        mask = [key in wanted for key in keys]
        out.expect(keys)
        drops = [((key,), Reason.OTHER_PHASE, "") for key in keys if key not in wanted]
        out.accept(Receipt(parts=out.folder.write(table.filter(mask)), drops=out.folder.write_drops(drops)))
