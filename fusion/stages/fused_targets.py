"""What the target is to learn at each place: several TOKEN_DISTRIBUTION and LINK_COUNT tables -> FUSED_TARGET.

One source besides the pivot is FuseChat's pairwise fusion, several are FuseLLM's fusion of many into one. Rows of
different models meet by prompt_id; a row that one of the models lacks is dropped with its reason, never shifted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa

from fusion.artifact import Artifact, PartFolder, Receipt, reasons_of
from fusion.errors import ArtifactError
from fusion.explicit.alignment import AlignmentMode, align
from fusion.explicit.config import FuseConfig
from fusion.explicit.distributions import Expected, carried, places, places_by_pieces, response_spans
from fusion.explicit.fuse import Target, carried_model, cross_entropies, fuse
from fusion.explicit.reader import ReadBy, Reader
from fusion.explicit.spans import SpanError, Spans
from fusion.explicit.tables import FUSED_TARGET
from fusion.explicit.token_map import token_map
from fusion.runtime import Runtime
from fusion.schema import Reason
from fusion.stages.link_counts import read_counts
from fusion.step import Placement
from fusion.work import Work
from fusion.writer import ArtifactWriter

if TYPE_CHECKING:
    import numpy as np

Where = Mapping[str, str]
"""prompt_id -> name of the part."""


@dataclass(kw_only=True)
class FusedTargetsConfig:
    """Inputs are `texts`, `distributions:<name>` of each model, and `counts:<name>` of each source."""

    pivot: ReadBy
    sources: list[ReadBy]
    fuse: FuseConfig


@dataclass(frozen=True, slots=True)
class FuseTask:
    """Texts of one part, with the part of each model's distributions that each stands in (pivot first)."""

    part: str
    wanted: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class FuseTasks:
    """What is to be fused, and what of it is left when a worker has died."""

    tasks: tuple[FuseTask, ...]
    out: ArtifactWriter

    def __iter__(self) -> Iterator[object]:
        return iter(self.tasks)

    def remaining(self, task: object) -> object | None:
        assert isinstance(task, FuseTask)
        self.out.refresh()
        wanted = tuple(one for one in task.wanted if not self.out.is_done(one[0]))
        return replace(task, wanted=wanted) if wanted else None


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Fuse what is not fused yet."""
    for work in works:
        config = work.step.config
        assert isinstance(config, FusedTargetsConfig)
        names = [config.pivot.name, *(source.name for source in config.sources)]
        tables = [work.table_in(f"distributions:{name}") for name in names]
        counts = tuple(work.table_in(f"counts:{name}") for name in names[1:])
        texts, out, placement = work.table_in("texts"), work.rows_out, work.step.placement
        tasks = _tasks(texts, dict(zip(names, tables, strict=True)), out, placement.part_rows)
        worker = FuseWorker(config, texts.folder, tuple(one.folder for one in tables), counts, out.folder)
        total = out.num_done + sum(len(task.wanted) for task in tasks)
        for finished in runtime.map(worker, FuseTasks(tuple(tasks), out), placement, work.step.name):
            out.accept(finished.receipts[out.folder.path])
            work.progress(out.num_done, total)
            if work.stopped():
                break


def _tasks(texts: Artifact, tables: Mapping[str, Artifact], out: ArtifactWriter, size: int) -> list[FuseTask]:
    """Texts that every model has a distribution of; the others are dropped here, with the model that lacks them."""
    part_of, where = _where(texts), {name: _where(table) for name, table in tables.items()}
    by_part: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    drops = []
    for key in out.pending(dict.fromkeys(part_of)):
        lacking = [name for name, found in where.items() if key not in found]
        if lacking:
            reason = f"{lacking[0]} has no distribution of it (see the drops of that step)"
            drops.append(((key,), Reason.NO_DISTRIBUTION, reason))
        else:
            by_part.setdefault(part_of[key], []).append((key, tuple(found[key] for found in where.values())))
    out.accept(Receipt(drops=out.folder.write_drops(drops)))
    return [
        FuseTask(part, tuple(chosen[i : i + size]))
        for part, texts_of_it in sorted(by_part.items())
        for chosen in [sorted(texts_of_it, key=lambda one: one[1])]  # those of one stored part together
        for i in range(0, len(chosen), size)
    ]


def _where(table: Artifact) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in table.parts:
        found |= dict.fromkeys(table.folder.read(part.name, ["prompt_id"])["prompt_id"].to_pylist(), part.name)
    return found


@dataclass(frozen=True)
class FuseWorker:
    """Opens the tokenizers and maps every source's vocabulary."""

    config: FusedTargetsConfig
    texts: PartFolder
    distributions: tuple[PartFolder, ...]
    counts: tuple[Artifact, ...]
    out: PartFolder

    @contextmanager
    def open(self, placement: Placement) -> Iterator[FuseSession]:
        pivot, sources = self.config.pivot.open(), [source.open() for source in self.config.sources]
        maps = []
        for source, counts in zip(sources, self.counts, strict=True):
            ends = source.renderer.end_of_turn_id, pivot.renderer.end_of_turn_id
            known = read_counts(counts)
            maps.append(token_map(source.vocabulary, pivot.vocabulary, known, self.config.fuse.token_map, ends))
        yield FuseSession(self, [pivot, *sources], maps)


class FuseSession:
    """Open tokenizers, the pivot's first."""

    def __init__(self, worker: FuseWorker, readers: Sequence[Reader], maps: Sequence[np.ndarray]) -> None:
        self._worker = worker
        self._readers = readers
        self._maps = maps
        self._rows = lru_cache(16)(_rows_by_id)

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Fuse the texts of a task and commit them, sorted by key."""
        assert isinstance(task, FuseTask)
        began, worker = time.monotonic(), self._worker
        texts = self._rows(worker.texts, task.part)
        made: list[tuple[str, str, Expected, Target]] = []
        drops = []
        for key, parts in sorted(task.wanted):
            rows = [self._rows(folder, part)[key] for folder, part in zip(worker.distributions, parts, strict=True)]
            if len({row["text_hash"] for row in rows}) > 1:
                raise ArtifactError(f"{key}: the models' distributions are of different texts under one prompt_id")
            models = [Expected.of(row) for row in rows]
            try:
                target = self._fused(str(texts[key]["response"]), models)
            except SpanError as error:
                drops.append(((key,), Reason.NOT_SPELLED, str(error)))
                continue
            made.append((key, str(rows[0]["text_hash"]), models[0], target))
        names = [reader.name for reader in self._readers]
        receipt = Receipt(
            worker.out.write(_table(made, names)),
            worker.out.write_drops(drops),
            num_tokens=sum(len(pivot.token_ids) for _, _, pivot, _ in made),
            num_requests=len(task.wanted),
            seconds=time.monotonic() - began,
            reasons=reasons_of(drops),
        )
        return {worker.out.path: receipt}

    def _fused(self, text: str, models: Sequence[Expected]) -> Target:
        import numpy as np

        config = self._worker.config.fuse
        spans = [
            response_spans(text, model.token_ids, reader.vocabulary)
            for model, reader in zip(models, self._readers, strict=True)
        ]
        losses = cross_entropies(list(zip(models, spans, strict=True)), config)
        pivot = models[0]
        everywhere = np.ones(len(pivot.token_ids), dtype=bool)
        parts = [carried_model(pivot.top_ids, pivot.top_logprobs, everywhere, losses[0], config)]
        for number, (source, one) in enumerate(zip(models[1:], spans[1:], strict=True), 1):
            at = self._places(number, one, spans[0])
            candidates = carried(source, at, self._maps[number - 1])
            parts.append(carried_model(*candidates, at >= 0, losses[number], config))
        return fuse(parts, pivot.token_ids, config)

    def _places(self, number: int, source: Spans, pivot: Spans) -> np.ndarray:
        mode = self._worker.config.fuse.alignment
        if mode is AlignmentMode.BYTE_OFFSETS:
            return places(source, pivot)
        vocabularies = self._readers[number].vocabulary, self._readers[0].vocabulary
        return places_by_pieces(align(source, pivot, vocabularies, mode), source, pivot, vocabularies)


def _rows_by_id(folder: PartFolder, part: str) -> dict[str, dict[str, object]]:
    return {row["prompt_id"]: row for row in folder.read(part).to_pylist()}


def _table(made: Sequence[tuple[str, str, Expected, Target]], names: Sequence[str]) -> pa.Table:
    """Candidates of no probability are left out, so a place has as many as it needs."""
    import numpy as np

    targets = [target for *_, target in made]
    kept = [target.ids >= 0 for target in targets]
    columns = {
        "prompt_id": [key for key, *_ in made],
        "text_hash": [text_hash for _, text_hash, *_ in made],
        "token_ids": [pivot.token_ids for _, _, pivot, _ in made],
        "widths": [mask.sum(axis=1) for mask in kept],
        "top_ids": [target.ids[mask] for target, mask in zip(targets, kept, strict=True)],
        "top_probs": [target.probs[mask].astype(np.float16) for target, mask in zip(targets, kept, strict=True)],
        "winner": [None if target.winner is None else names[target.winner] for target in targets],
        "source_frac": [target.source_frac for target in targets],
    }
    schema = FUSED_TARGET.schema
    return pa.table([pa.array(columns[f.name], type=f.type) for f in schema], schema=schema)
