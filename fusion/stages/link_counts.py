"""How often the tokens of a source and of the pivot meet in the texts: SFT_EXAMPLE -> LINK_COUNT.

FuseChat's first pass (arXiv 2408.07990, section 3.2): map each shard of the texts to sparse counts, and reduce by
adding. Needs the tokenizers only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from fusion.artifact import Artifact, PartFolder, Receipt, reasons_of
from fusion.explicit.alignment import AlignmentMode, align
from fusion.explicit.counts import LinkCounts, count_links, merged
from fusion.explicit.reader import ReadBy, Reader
from fusion.explicit.spans import SpanError
from fusion.explicit.tables import LINK_COUNT
from fusion.runtime import Runtime
from fusion.schema import Reason
from fusion.step import Placement
from fusion.work import Work
from fusion.writer import ArtifactWriter


@dataclass(kw_only=True)
class LinkCountsConfig:
    """One source against the pivot."""

    source: ReadBy
    pivot: ReadBy
    alignment: AlignmentMode


@dataclass(frozen=True, slots=True)
class CountTask:
    """Rows [start, stop) of one part of the texts; `shard` names them in the table."""

    part: str
    start: int
    stop: int

    @property
    def shard(self) -> str:
        return f"{self.part.removeprefix('parts/')}:{self.start}"


@dataclass(frozen=True)
class CountTasks:
    """The shards that are not counted yet."""

    tasks: tuple[CountTask, ...]
    out: ArtifactWriter

    def __iter__(self) -> Iterator[object]:
        return iter(self.tasks)

    def remaining(self, task: object) -> object | None:
        assert isinstance(task, CountTask)
        self.out.refresh()
        return None if self.out.is_done(task.shard) else task


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Count the shards that are left. Input: `texts`."""
    for work in works:
        config = work.step.config
        assert isinstance(config, LinkCountsConfig)
        texts, out, placement = work.table_in("texts"), work.rows_out, work.step.placement
        size = placement.part_rows
        shards = [
            CountTask(part.name, start, min(start + size, part.rows))
            for part in texts.parts
            for start in range(0, part.rows, size)
        ]
        pending = set(out.pending(dict.fromkeys(shard.shard for shard in shards)))
        tasks = CountTasks(tuple(shard for shard in shards if shard.shard in pending), out)
        done = len(shards) - len(tasks.tasks)
        for finished in runtime.map(CountWorker(config, texts.folder, out.folder), tasks, placement, work.step.name):
            out.accept(finished.receipts[out.folder.path])
            done += 1
            work.progress(done, len(shards))
            if work.stopped():
                break


def read_counts(table: Artifact) -> LinkCounts:
    """The sum over all shards."""
    import numpy as np

    rows = table.read()
    columns = [np.asarray(rows[name]).astype(np.int64) for name in ("pivot_id", "source_id", "count")]
    return merged([LinkCounts(*columns)])


@dataclass(frozen=True)
class CountWorker:
    """Opens both tokenizers."""

    config: LinkCountsConfig
    texts: PartFolder
    out: PartFolder

    @contextmanager
    def open(self, placement: Placement) -> Iterator[CountSession]:
        yield CountSession(self, self.config.source.open(), self.config.pivot.open())


@dataclass(frozen=True)
class CountSession:
    """Two open tokenizers."""

    worker: CountWorker
    source: Reader
    pivot: Reader

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Count one shard and commit it."""
        assert isinstance(task, CountTask)
        began, out = time.monotonic(), self.worker.out
        rows = self.worker.texts.read(task.part, ["response"]).slice(task.start, task.stop - task.start)
        counts, num_tokens = [], 0
        for text in rows["response"].to_pylist():
            try:
                source, pivot = self.source.spans(text), self.pivot.spans(text)
            except SpanError:
                continue  # becomes a drop where its target is made
            vocabularies = (self.source.vocabulary, self.pivot.vocabulary)
            counts.append(count_links(source, pivot, align(source, pivot, vocabularies, self.worker.config.alignment)))
            num_tokens += len(source)
        parts = out.write(_table(task.shard, merged(counts)))
        nothing = [] if parts else [((task.shard,), Reason.NOT_SPELLED, "no text of it could be aligned")]
        drops = out.write_drops(nothing)
        seconds = time.monotonic() - began
        return {out.path: Receipt(parts, drops, num_tokens, len(rows), seconds, reasons_of(nothing))}


def _table(shard: str, counts: LinkCounts) -> pa.Table:
    columns = {
        "shard": [shard] * len(counts),
        "pivot_id": counts.pivot_ids,
        "source_id": counts.source_ids,
        "count": counts.counts,
    }
    schema = LINK_COUNT.schema
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in schema], schema=schema)
