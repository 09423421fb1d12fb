"""What is to be generated: prompts in tasks, small ones towards the end, so that none is left with the last big one.

Only what is pending is held, some 30 bytes a prompt and 8 a sample, because there may be millions; a task is made when
it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fusion.artifact import PartFolder, Receipt
from fusion.generators.base import Sampling
from fusion.schema import Reason, key_string
from fusion.stages.failure_budget import FailureBudget
from fusion.step import Placement
from fusion.work import Work

if TYPE_CHECKING:
    from fusion.stages.generate import GenerateConfig

EARLY = 256
"""Prompts of a part that are asked ahead of its others."""
SHARES = 4
"""A task holds at most a quarter of a replica's share of what is left, so that the last ones are small."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Prompts of one part of the prompt table, with the samples of each that are still to make.

    Example: Asked(part="parts/3f.parquet", samples=(("9a1c...", (0, 1, 2, 3)), ("b07e...", (2,))))
    """

    prompts: PartFolder
    part: str
    samples: tuple[tuple[str, tuple[int, ...]], ...]
    out: PartFolder
    source: str
    sampling: Sampling
    run_seed: int

    @property
    def num_answers(self) -> int:
        return sum(len(indices) for _, indices in self.samples)


class GenerateTasks:
    """Made once, when rows of siblings have been taken over; iterated once."""

    def __init__(self, works: Sequence[Work], placement: Placement) -> None:
        self._placement = placement
        self._works = {work.rows_out.folder.path: work for work in works}
        self._budgets = {path: _budget(path, work) for path, work in self._works.items()}
        self._counts = {path: [0, 0] for path in self._works}  # done, total
        self._pending = [pending for work in works for pending in self._pending_of(work)]
        self._prompts_left = sum(pending.num_prompts for pending in self._pending)

    def __iter__(self) -> Iterator[object]:
        while self._pending:
            pending = self._pending.pop(0)
            task, samples = pending.task, pending.samples()
            while samples:
                size = self._size()
                chunk, samples = samples[:size], samples[size:]
                pieces = self._pieces(chunk)
                self._prompts_left -= len(chunk)
                yield from (replace(task, samples=piece) for piece in pieces)

    def accept(self, path: str, receipt: Receipt) -> None:
        """Count what a worker committed to the artifact at `path`.

        Raises:
            StepFailed: so many answers failed that there is no point in going on.
        """
        self._works[path].rows_out.accept(receipt)
        rows = sum(part.rows for part in (*receipt.parts, *receipt.drops))
        self._add(path, rows)
        self._budgets[path].count(rows, receipt.reasons.get(Reason.REQUEST_FAILED, 0))

    def check_failures(self) -> None:
        """Raises:
        StepFailed: too many answers of an artifact failed.
        """
        for budget in self._budgets.values():
            budget.check()

    def remaining(self, task: object) -> object | None:
        """The samples of `task` that its dead worker did not commit, or None."""
        assert isinstance(task, Asked)
        writer = self._works[task.out.path].rows_out
        self._add(task.out.path, writer.refresh())
        left = []
        for prompt, indices in task.samples:
            missing = tuple(i for i in indices if not writer.is_done(key_string((prompt, task.source, i))))
            if missing:
                left.append((prompt, missing))
        return replace(task, samples=tuple(left)) if left else None

    # -- private -------------------------------------------------------------------------------------------------

    def _size(self) -> int:
        """Prompts of the next task; a single replica has nobody to share with."""
        if self._placement.replicas == 1:
            return self._placement.part_rows
        share = self._prompts_left // (SHARES * self._placement.replicas)
        return min(self._placement.part_rows, max(1, share))

    def _pieces(self, chunk: Samples) -> list[Samples]:
        """The last prompts, fewer than there are replicas, are answered by several each."""
        replicas = self._placement.replicas
        if self._prompts_left * 2 > replicas:
            return [chunk]
        ways = replicas // self._prompts_left
        return [
            ((prompt, indices[way::ways]),)
            for prompt, indices in chunk
            for way in range(min(ways, len(indices)))
        ]  # fmt: skip

    def _pending_of(self, work: Work) -> Iterator[_Pending]:
        config: GenerateConfig = work.step.config  # type: ignore[assignment]
        prompts, out = work.table_in("prompts"), work.rows_out
        for part in prompts.parts:
            table = prompts.folder.read(part.name, ["prompt_id", "domain"])
            ids, domains = table["prompt_id"].to_pylist(), table["domain"].to_pylist()
            numbers = [config.sampling.num_samples_of(domain) for domain in domains]
            starts = (key_string((prompt, config.source)) for prompt in ids)
            wanted = [
                f"{start}/{index}" for start, number in zip(starts, numbers, strict=True) for index in range(number)
            ]
            missing = set(out.pending(dict.fromkeys(wanted)))
            counts = self._counts[out.folder.path]
            counts[0], counts[1] = counts[0] + len(wanted) - len(missing), counts[1] + len(wanted)
            if missing:
                task = Asked(prompts.folder, part.name, (), out.folder, config.source, config.sampling, config.run_seed)
                rows = np.repeat(np.arange(len(ids), dtype=np.int32), numbers)
                indices = np.concatenate([np.arange(number, dtype=np.int32) for number in numbers])
                mask = np.fromiter((key in missing for key in wanted), dtype=np.bool_, count=len(wanted))
                yield _Pending(task, table["prompt_id"].combine_chunks(), rows[mask], indices[mask])
        self._add(out.folder.path, 0)

    def _add(self, path: str, rows: int) -> None:
        counts = self._counts[path]
        counts[0] += rows
        self._works[path].progress(counts[0], counts[1])


def _budget(path: str, work: Work) -> FailureBudget:
    config: GenerateConfig = work.step.config  # type: ignore[assignment]
    return FailureBudget(f"source {config.source} failed on {{}} answers", path, config.max_failed_frac)


Samples = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class _Pending:
    """Samples of one part of the prompt table: `rows` (of `ids`, ascending) and sample indices, side by side."""

    task: Asked
    ids: pa.Array
    rows: NDArray[np.int32]
    indices: NDArray[np.int32]

    @property
    def num_prompts(self) -> int:
        return len(np.unique(self.rows))

    def samples(self) -> Samples:
        rows, starts = np.unique(self.rows, return_index=True)
        groups = np.split(self.indices, starts[1:])
        ids = self.ids.take(pa.array(rows)).to_pylist()
        return spread(tuple((prompt, tuple(group.tolist())) for prompt, group in zip(ids, groups, strict=True)))


def spread(samples: Samples) -> Samples:
    """Some from all over the table first: prompts lie there domain by domain, and what is left is forecast from the
    answers that came first."""
    if len(samples) <= EARLY:
        return samples
    early = [len(samples) * number // EARLY for number in range(EARLY)]
    taken = set(early)
    return (*(samples[i] for i in early), *(one for i, one in enumerate(samples) if i not in taken))
