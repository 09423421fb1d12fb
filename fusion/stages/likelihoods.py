"""Likelihoods: how likely a model finds the continuations that items give, by forward passes: PROMPT -> RESPONSE.

A response's text is the JSON list of what the model says of each continuation, in their order: `[[log-probability in
nats, whether greedy decoding would write it], ...]`; so verdicts, tables and gates are made of it as of any answer.
Steps of one gang share an open model. Softmax and sums are in fp32, and a number depends on its batch by rounding only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from fusion.artifact import PartFolder, Receipt
from fusion.modelfiles import DEFAULT_CACHE
from fusion.models import ModelRef
from fusion.runtime import Runtime
from fusion.schema import key_string
from fusion.stages.likelihood_session import Compared, LikelihoodWorker
from fusion.train.config import Dtype
from fusion.work import Work


@dataclass(kw_only=True)
class LikelihoodsConfig:
    """One model's reading of one table of items."""

    source: str
    """Its name in the `source` column."""
    model: ModelRef
    """Its chat template is that of contexts that are conversations."""
    dtype: Dtype = Dtype.BFLOAT16
    """Precision of weights and activations."""
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on each machine."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Read every item that was not read yet; all works share one model.

    Raises:
        ConfigError: the model has no chat template for contexts that are conversations.
        EngineError: workers died more often than the placement allows.
    """
    configs = [_config(work) for work in works]
    first, placement = configs[0], works[0].step.placement
    assert all((one.model, one.dtype) == (first.model, first.dtype) for one in configs), "gang"
    worker = LikelihoodWorker(first.model, first.cache, first.dtype)
    todo = LikelihoodTasks(works)
    for done in runtime.map(worker, todo, placement, f"read {first.source}"):
        for path, receipt in done.receipts.items():
            todo.accept(path, receipt)
        if works[0].stopped():
            return


class LikelihoodTasks:
    """What is still to read: items of about equal length in a task, the longest first, so that memory runs out at once
    or never.
    """

    def __init__(self, works: Sequence[Work]) -> None:
        self._works = {work.rows_out.folder.path: work for work in works}
        self._counts = {path: [0, 0] for path in self._works}  # done, total
        self._tasks = [task for work in works for task in self._tasks_of(work)]

    def __iter__(self) -> Iterator[object]:
        return iter(self._tasks)

    def accept(self, path: str, receipt: Receipt) -> None:
        """Count what a worker committed to the artifact at `path`."""
        self._works[path].rows_out.accept(receipt)
        self._add(path, sum(part.rows for part in (*receipt.parts, *receipt.drops)))

    def remaining(self, task: object) -> object | None:
        assert isinstance(task, Compared)
        writer = self._works[task.out.path].rows_out
        self._add(task.out.path, writer.refresh())
        left = tuple(prompt for prompt in task.wanted if not writer.is_done(key_string((prompt, task.source, 0))))
        return replace(task, wanted=left) if left else None

    # -- private -------------------------------------------------------------------------------------------------

    def _tasks_of(self, work: Work) -> list[Compared]:
        source, prompts, out = _config(work).source, work.table_in("prompts"), work.rows_out
        size, counts = work.step.placement.part_rows, self._counts[out.folder.path]
        made = []
        for part in prompts.parts:
            lengths = _lengths(prompts.folder, part.name)
            units = {key_string((prompt, source, 0)): prompt for prompt in lengths}
            pending = [units[unit] for unit in out.pending(dict.fromkeys(units))]
            counts[0], counts[1] = counts[0] + len(units) - len(pending), counts[1] + len(units)
            pending.sort(key=lambda prompt: (-lengths[prompt], prompt))
            chunks = [tuple(pending[i : i + size]) for i in range(0, len(pending), size)]
            made += [Compared(prompts.folder, part.name, chunk, out.folder, source) for chunk in chunks]
        self._add(out.folder.path, 0)
        return made

    def _add(self, path: str, rows: int) -> None:
        counts = self._counts[path]
        counts[0] += rows
        self._works[path].progress(counts[0], counts[1])


def _lengths(prompts: PartFolder, part: str) -> dict[str, int]:
    """prompt_id -> letters of the contexts and continuations."""
    return {
        row["prompt_id"]: len(row["reference"]) for row in prompts.read(part, ["prompt_id", "reference"]).to_pylist()
    }


def _config(work: Work) -> LikelihoodsConfig:
    config = work.step.config
    assert isinstance(config, LikelihoodsConfig)
    return config
