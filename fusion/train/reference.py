"""A worker that computes log-probabilities of pairs' answers under the reference model, and the tasks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.artifact import PartFolder, Receipt
from fusion.chat import Renderer
from fusion.modelfiles import prepare
from fusion.models import ChatConfig, ModelRef
from fusion.schema import LOGPROB
from fusion.step import Placement
from fusion.train.config import Dtype
from fusion.train.rows import pair_rows, tokens_id
from fusion.transfer import on_disk
from fusion.writer import ArtifactWriter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKEN_BUDGET = 4096
"""Tokens of one forward pass, padding included."""

Sequences = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
"""tokens_id -> (prompt ids, response ids)."""


@dataclass(frozen=True, slots=True)
class ReferenceTask:
    """Some of the token sequences of one part of the pairs; the part itself stays in the store."""

    part: str
    wanted: tuple[str, ...]


@dataclass(frozen=True)
class ReferenceTasks:
    """What is to be computed, and what of it is left when a worker has died."""

    tasks: tuple[ReferenceTask, ...]
    out: ArtifactWriter

    def __iter__(self) -> Iterator[object]:
        return iter(self.tasks)

    def remaining(self, task: object) -> object | None:
        assert isinstance(task, ReferenceTask)
        self.out.refresh()
        wanted = tuple(one for one in task.wanted if not self.out.is_done(one))
        return replace(task, wanted=wanted) if wanted else None


@dataclass(frozen=True)
class ReferenceWorker:
    """Opens the reference model. `model` is a folder that all workers see, or is prepared where one runs."""

    model: ModelRef | str
    cache: str
    chat: ChatConfig
    dtype: Dtype
    max_length: int
    roles: tuple[str, ...]
    pairs: PartFolder
    out: PartFolder

    @property
    def folder(self) -> Path:
        return on_disk(self.model) if isinstance(self.model, str) else prepare(self.model, Path(self.cache))

    @property
    def trust_remote_code(self) -> bool:
        return isinstance(self.model, ModelRef) and self.model.trust_remote_code

    def sequences(self, renderer: Renderer, part: str) -> Sequences:
        """The token sequences of a part of the pairs, as training will see them."""
        rows, _ = pair_rows(self.pairs.read(part).to_pylist(), renderer, self.roles, self.max_length)
        return {
            tokens_id(row.prompt_ids, response): (row.prompt_ids, response)
            for row in rows
            for response in row.responses
        }

    def renderer(self) -> Renderer:
        return Renderer.load(self.folder, self.chat, self.trust_remote_code)

    @contextmanager
    def open(self, placement: Placement) -> Iterator[ReferenceSession]:
        import torch
        from transformers import AutoModelForCausalLM

        if not placement.gpus:
            torch.set_num_threads(max(1, round(placement.cpus)))
        model = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=getattr(torch, self.dtype.value), trust_remote_code=self.trust_remote_code
        )
        yield ReferenceSession(self, model.to("cuda" if placement.gpus else "cpu").eval(), self.renderer())


class ReferenceSession:
    """An open reference model; one forward pass at a time."""

    def __init__(self, worker: ReferenceWorker, model: PreTrainedModel, renderer: Renderer) -> None:
        self._worker = worker
        self._model = model
        self._turn = threading.Lock()
        self._sequences = lru_cache(4)(lambda part: worker.sequences(renderer, part))

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Compute and commit one part of LOGPROB rows, sorted by key."""
        from fusion.rewards.logprobs import response_logprobs

        assert isinstance(task, ReferenceTask)
        began = time.monotonic()
        with self._turn:
            known = self._sequences(task.part)
            prompts, responses = zip(*(known[one] for one in task.wanted), strict=True)
            found = response_logprobs(self._model, prompts, responses, TOKEN_BUDGET)
        rows = [
            {"tokens_id": one, "logprob_sum": total, "num_tokens": count}
            for one, (total, count) in sorted(zip(task.wanted, found, strict=True))
        ]
        parts = self._worker.out.write(LOGPROB.build(rows))
        num_tokens = sum(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
        receipt = Receipt(parts, num_tokens=num_tokens, num_requests=len(rows), seconds=time.monotonic() - began)
        return {self._worker.out.path: receipt}


def reference_tasks(worker: ReferenceWorker, parts: Sequence[str], out: ArtifactWriter, size: int) -> ReferenceTasks:
    """Tasks of at most `size` sequences that no run has computed; one that occurs in two parts is computed once.

    Sequences of a task are about equally long, and the longest come first, so that memory runs out at once or never.
    """
    renderer = worker.renderer()
    where: dict[str, tuple[str, int]] = {}
    for part in parts:
        for one, (prompt, response) in worker.sequences(renderer, part).items():
            where.setdefault(one, (part, len(prompt) + len(response)))
    pending = out.pending(dict.fromkeys(where))
    tasks = []
    for part in parts:
        mine = sorted((one for one in pending if where[one][0] == part), key=lambda one: (-where[one][1], one))
        tasks += [ReferenceTask(part, tuple(mine[i : i + size])) for i in range(0, len(mine), size)]
    return ReferenceTasks(tuple(tasks), out)
