"""Top-k distributions of one model over given texts: SFT_EXAMPLE -> TOKEN_DISTRIBUTION.

Each model reads a text in its own template and under its own tokenizer; the rows of several models are joined by
prompt_id. Deviation: FuseChat shows all models the pivot's template, with each tokenizer's own end of sequence in it;
here only the response is aligned, so the template around it may be the one that a model was trained with (set
`chat.template` of a source to the pivot's to do as FuseChat does).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fusion.artifact import PartFolder, Receipt, reasons_of
from fusion.chat import Renderer
from fusion.explicit.config import DumpConfig
from fusion.explicit.tables import TOKEN_DISTRIBUTION, shown_hash
from fusion.explicit.topk import TopK, top_distributions
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.models import ChatConfig, ModelRef
from fusion.runtime import Runtime
from fusion.schema import Reason
from fusion.step import Placement
from fusion.train.forward import TOKEN_BUDGET, open_model
from fusion.train.rows import TokenRow, sft_rows
from fusion.transfer import on_disk
from fusion.work import Work
from fusion.writer import ArtifactWriter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Example = Mapping[str, object]


@dataclass(kw_only=True)
class DistributionsConfig:
    """One model's distributions over one table of texts."""

    source: str
    """Its name in the config."""
    model: ModelRef | None
    """None: the checkpoint that is the step's input `model`."""
    chat: ChatConfig
    dump: DumpConfig
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on each machine."""


@dataclass(frozen=True, slots=True)
class DumpTask:
    """Some of the texts of one part; the part itself stays in the store."""

    part: str
    wanted: tuple[str, ...]


@dataclass(frozen=True)
class DumpTasks:
    """What is to be computed, and what of it is left when a worker has died."""

    tasks: tuple[DumpTask, ...]
    out: ArtifactWriter

    def __iter__(self) -> Iterator[object]:
        return iter(self.tasks)

    def remaining(self, task: object) -> object | None:
        assert isinstance(task, DumpTask)
        self.out.refresh()
        wanted = tuple(one for one in task.wanted if not self.out.is_done(one))
        return replace(task, wanted=wanted) if wanted else None


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Compute what is not there yet. Inputs: `texts`, and `model` where the config names none."""
    for work in works:
        config = work.step.config
        assert isinstance(config, DistributionsConfig)
        texts, out, placement = work.table_in("texts"), work.rows_out, work.step.placement
        model = config.model or work.model_in("model").place
        worker = DumpWorker(model, config.cache, config.chat, config.dump, texts.folder, out.folder)
        wanted: dict[str, tuple[str, str]] = {}
        for part in texts.parts:
            for row in texts.folder.read(part.name).to_pylist():
                wanted[row["prompt_id"]] = (part.name, shown_hash(row))
        pending = out.pending({key: guard for key, (_, guard) in wanted.items()})
        tasks = []
        for part in texts.parts:
            mine = [key for key in pending if wanted[key][0] == part.name]
            size = placement.part_rows
            tasks += [DumpTask(part.name, tuple(mine[i : i + size])) for i in range(0, len(mine), size)]
        done = len(wanted) - len(pending)
        for finished in runtime.map(worker, DumpTasks(tuple(tasks), out), placement, work.step.name):
            receipt = finished.receipts[out.folder.path]
            out.accept(receipt)
            done += sum(part.rows for part in (*receipt.parts, *receipt.drops))
            work.progress(done, len(wanted))
            if work.stopped():
                break


@dataclass(frozen=True)
class DumpWorker:
    """Opens the model. `model` is a folder or URL that all workers see, or is prepared where one runs."""

    model: ModelRef | str
    cache: str
    chat: ChatConfig
    dump: DumpConfig
    texts: PartFolder
    out: PartFolder

    @contextmanager
    def open(self, placement: Placement) -> Iterator[DumpSession]:
        folder = on_disk(self.model) if isinstance(self.model, str) else prepare(self.model, Path(self.cache))
        trusts = isinstance(self.model, ModelRef) and self.model.trust_remote_code
        with open_model(folder, self.dump.dtype, placement, trusts) as model:
            yield DumpSession(self, model, Renderer.load(folder, self.chat, trusts))


class DumpSession:
    """An open model; one forward pass at a time."""

    def __init__(self, worker: DumpWorker, model: PreTrainedModel, renderer: Renderer) -> None:
        self._worker = worker
        self._model = model
        self._renderer = renderer
        self._turn = threading.Lock()
        self._texts = lru_cache(4)(lambda part: {row["prompt_id"]: row for row in worker.texts.read(part).to_pylist()})

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Compute and commit one part of distributions, sorted by key."""
        assert isinstance(task, DumpTask)
        began = time.monotonic()
        worker, dump = self._worker, self._worker.dump
        with self._turn:
            examples = {key: self._texts(task.part)[key] for key in task.wanted}
            rows, drops = rendered(examples, self._renderer, dump.max_length)
            prompts, responses = [row.prompt_ids for row in rows], [row.responses[0] for row in rows]
            found = top_distributions(self._model, prompts, responses, dump.top_k, TOKEN_BUDGET)
        kept = []
        for row, one in zip(rows, found, strict=True):
            if math.isfinite(float(one.logprobs.sum())):
                kept.append((examples[row.key], row, one))
            else:
                drops.append(((row.key,), Reason.NOT_FINITE, "a log-probability of the response is not a number"))
        receipt = Receipt(
            worker.out.write(_table(sorted(kept, key=lambda one: one[1].key))),
            worker.out.write_drops(drops),
            num_tokens=sum(row.num_tokens for row in rows),
            num_requests=len(task.wanted),
            seconds=time.monotonic() - began,
            reasons=reasons_of(drops),
        )
        return {worker.out.path: receipt}


Drop = tuple[Sequence[object], Reason, str]


def rendered(examples: Mapping[str, Example], renderer: Renderer, max_length: int) -> tuple[list[TokenRow], list[Drop]]:
    """Token rows of the texts, and drops of those that are too long or hold no response."""
    rows: list[TokenRow] = []
    drops: list[Drop] = []
    for key, example in examples.items():
        if not str(example["response"]).strip():
            drops.append(((key,), Reason.EMPTY_RESPONSE, ""))
            continue
        made, _ = sft_rows([example], renderer, max_length)
        rows += made
        if not made:
            drops.append(((key,), Reason.OVER_LENGTH, f"longer than {max_length} tokens"))
    return rows, drops


def _table(rows: Sequence[tuple[Example, TokenRow, TopK]]) -> pa.Table:
    examples, tokens, found = [one for one, _, _ in rows], [one for _, one, _ in rows], [one for _, _, one in rows]
    columns = {
        "prompt_id": [row.key for row in tokens],
        "text_hash": [shown_hash(example) for example in examples],
        "num_bytes": [len(str(example["response"]).encode()) for example in examples],
        "token_ids": [list(row.responses[0]) for row in tokens],
        "logprobs": [one.logprobs for one in found],
        "top_ids": [one.top_ids.ravel() for one in found],
        "top_logprobs": [one.top_logprobs.ravel() for one in found],
        "residual": [one.residual for one in found],
    }
    schema = TOKEN_DISTRIBUTION.schema
    return pa.table([pa.array(columns[f.name], type=f.type) for f in schema], schema=schema)
