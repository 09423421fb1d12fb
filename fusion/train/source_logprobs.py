"""A worker that computes how likely answers are under a source, in its own tokens, and the tasks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.artifact import PartFolder, Receipt
from fusion.chat import Renderer
from fusion.modelfiles import prepare
from fusion.models import ModelRef, model_facts
from fusion.schema import Reason, hash_text, key_string
from fusion.step import Placement
from fusion.train.config import Dtype
from fusion.train.reference import TOKEN_BUDGET, ReferenceTask, ReferenceTasks, Sequences
from fusion.training_tables import SOURCE_LOGPROB
from fusion.writer import ArtifactWriter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Unit = tuple[str, str]
"""prompt_id, hash of the text."""


@dataclass(frozen=True)
class SourceLogprobWorker:
    """Opens a source, prepared on the machine where the worker runs."""

    model: ModelRef
    cache: str
    dtype: Dtype
    roles: tuple[str, ...]
    pairs: PartFolder
    out: PartFolder

    @property
    def folder(self) -> Path:
        return prepare(self.model, Path(self.cache))

    def renderer(self) -> Renderer:
        return Renderer.load(self.folder, self.model.chat, self.model.trust_remote_code)

    def sequences(self, renderer: Renderer, part: str) -> tuple[Sequences, dict[Unit, Reason]]:
        """Unit key -> (prompt ids, response ids) of a part of the pairs; and units that this source cannot read.

        A response ends with the source's end of turn where its template has one. A base model's template has none: its
        end of sequence means something else, and is left out.
        """
        longest = model_facts(self.folder).max_model_len
        known: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        unread: dict[Unit, Reason] = {}
        for row in self.pairs.read(part).to_pylist():
            prompt = tuple(renderer.prompt_ids(row["messages"], row["domain"]))
            for role in self.roles:
                unit = (row["prompt_id"], hash_text(row[role]))
                response = renderer.response_ids(row[role])
                response = response if renderer.template_ends_turn else response[:-1]
                if not response:
                    unread[unit] = Reason.EMPTY_RESPONSE
                elif len(prompt) + len(response) > longest:
                    unread[unit] = Reason.OVER_LENGTH
                else:
                    known[key_string(unit)] = (prompt, tuple(response))
        return known, unread

    @contextmanager
    def open(self, placement: Placement) -> Iterator[SourceLogprobSession]:
        import torch
        from transformers import AutoModelForCausalLM

        if not placement.gpus:
            torch.set_num_threads(max(1, round(placement.cpus)))
        model = AutoModelForCausalLM.from_pretrained(
            self.folder, dtype=getattr(torch, self.dtype.value), trust_remote_code=self.model.trust_remote_code
        )
        yield SourceLogprobSession(self, model.to("cuda" if placement.gpus else "cpu").eval(), self.renderer())


class SourceLogprobSession:
    """An open source; one forward pass at a time."""

    def __init__(self, worker: SourceLogprobWorker, model: PreTrainedModel, renderer: Renderer) -> None:
        self._worker = worker
        self._model = model
        self._turn = threading.Lock()
        self._sequences = lru_cache(4)(lambda part: worker.sequences(renderer, part)[0])

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Compute and commit one part of SOURCE_LOGPROB rows, sorted by key."""
        from fusion.rewards.logprobs import response_logprobs

        assert isinstance(task, ReferenceTask)
        began = time.monotonic()
        with self._turn:
            known = self._sequences(task.part)
            prompts, responses = zip(*(known[one] for one in task.wanted), strict=True)
            found = response_logprobs(self._model, prompts, responses, TOKEN_BUDGET)
        rows = []
        for unit, (total, count) in sorted(zip(task.wanted, found, strict=True)):
            prompt_id, text = unit.split("/")
            rows.append({"prompt_id": prompt_id, "text_hash": text, "logprob_sum": total, "num_tokens": count})
        parts = self._worker.out.write(SOURCE_LOGPROB.build(rows))
        num_tokens = sum(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
        receipt = Receipt(parts, num_tokens=num_tokens, num_requests=len(rows), seconds=time.monotonic() - began)
        return {self._worker.out.path: receipt}


def source_tasks(worker: SourceLogprobWorker, parts: Sequence[str], out: ArtifactWriter, size: int) -> ReferenceTasks:
    """Tasks of at most `size` answers that no run has computed; what the source cannot read is dropped at once.

    Answers of a task are about equally long, and the longest come first, so that memory runs out at once or never.
    """
    renderer = worker.renderer()
    where: dict[str, tuple[str, int]] = {}
    dropped: dict[Unit, Reason] = {}
    for part in parts:
        known, unread = worker.sequences(renderer, part)
        dropped |= unread
        for unit, (prompt, response) in known.items():
            where.setdefault(unit, (part, len(prompt) + len(response)))
    pending = set(out.pending(dict.fromkeys([*where, *map(key_string, dropped)])))
    drops = [(unit, reason, "") for unit, reason in sorted(dropped.items()) if key_string(unit) in pending]
    out.accept(Receipt(drops=out.folder.write_drops(drops)))
    tasks = []
    for part in parts:
        mine = sorted((u for u in pending & where.keys() if where[u][0] == part), key=lambda u: (-where[u][1], u))
        tasks += [ReferenceTask(part, tuple(mine[i : i + size])) for i in range(0, len(mine), size)]
    return ReferenceTasks(tuple(tasks), out)
