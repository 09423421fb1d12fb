"""Log-probabilities of given answers under a source: pairs -> SOURCE_LOGPROB.

By a forward pass, in the source's own template and tokens: one number an answer, which needs no alignment of tokens
(InfiFPO, arXiv 2505.13878). Softmax and sums are in fp32, and an answer's number depends on its batch by rounding only.
Rows are keyed by prompt and text, so other pairs with the same answers find what is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fusion.modelfiles import DEFAULT_CACHE
from fusion.models import ModelRef
from fusion.runtime import Runtime
from fusion.train.config import Dtype
from fusion.train.source_logprobs import SourceLogprobWorker, source_tasks
from fusion.work import Work


@dataclass(kw_only=True)
class SourceLogprobConfig:
    """One source."""

    name: str
    """As in the tables."""
    model: ModelRef
    """With its chat template."""
    dtype: Dtype = Dtype.BFLOAT16
    """Precision of weights and activations."""
    roles: list[str] = field(default_factory=lambda: ["chosen", "rejected"])
    """Text columns of the input that are looked at."""
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on each machine."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Compute what no run has computed yet."""
    for work in works:
        config = work.step.config
        assert isinstance(config, SourceLogprobConfig)
        pairs, out, placement = work.table_in("pairs"), work.rows_out, work.step.placement
        worker = SourceLogprobWorker(
            config.model, config.cache, config.dtype, tuple(config.roles), pairs.folder, out.folder
        )
        tasks = source_tasks(worker, [part.name for part in pairs.parts], out, placement.part_rows)
        done, total = 0, sum(len(task.wanted) for task in tasks.tasks)
        for finished in runtime.map(worker, tasks, placement, work.step.name) if total else ():
            receipt = finished.receipts[out.folder.path]
            out.accept(receipt)
            done += sum(part.rows for part in (*receipt.parts, *receipt.drops))
            work.progress(done, total)
            if work.stopped():
                break
