"""Reference log-probabilities, computed once and kept by content: pairs or triples, a checkpoint -> LOGPROB.

The key is the hash of the tokens, so a run with other pairs, another learning rate or another objective finds what it
needs as long as the reference model, its precision and the tokens are the same. The reference model is never resident
while the policy is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field

from fusion.modelfiles import DEFAULT_CACHE
from fusion.models import ChatConfig, ModelRef
from fusion.objectives.base import Objective
from fusion.runtime import Runtime
from fusion.stages.train_preference import starting_model
from fusion.train.config import Dtype, PreferenceConfig
from fusion.train.reference import ReferenceWorker, reference_tasks
from fusion.work import Work


@dataclass(kw_only=True)
class ReferenceConfig:
    """The step's config: of the settings of preference training only what decides the tokens and their numbers."""

    chat: ChatConfig
    train: InitVar[PreferenceConfig]
    model: ModelRef | None = None
    """The reference when there is no input `model`; null: that input."""
    max_length: int = 0
    """Taken from `train`."""
    dtype: Dtype = Dtype.BFLOAT16
    """Taken from `train`."""
    roles: list[str] = field(
        default_factory=lambda: list(Objective.roles), metadata={"absent_when": ["chosen", "rejected"]}
    )
    """Text columns of the input that are looked at."""
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on each machine."""

    def __post_init__(self, train: PreferenceConfig) -> None:
        self.max_length, self.dtype = train.max_length, train.dtype


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Compute what no run with this reference has computed yet."""
    for work in works:
        config = work.step.config
        assert isinstance(config, ReferenceConfig)
        model, _ = starting_model(work, config.model, config.cache)
        pairs, out, placement = work.table_in("pairs"), work.rows_out, work.step.placement
        worker = ReferenceWorker(
            model,
            config.cache,
            config.chat,
            config.dtype,
            config.max_length,
            tuple(config.roles),
            pairs.folder,
            out.folder,
        )
        tasks = reference_tasks(worker, [part.name for part in pairs.parts], out, placement.part_rows)
        total = sum(len(task.wanted) for task in tasks.tasks)
        done = 0
        for finished in runtime.map(worker, tasks, placement, work.step.name) if total else ():
            receipt = finished.receipts[out.folder.path]
            out.accept(receipt)
            done += sum(part.rows for part in (*receipt.parts, *receipt.drops))
            work.progress(done, total)
            if work.stopped():
                break
