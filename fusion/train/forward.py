"""Log-probabilities of given responses under a model: the session that computes them, and how the work is cut.

Whose tokens they are, and what a row of the result is called, is for those who use it to say (`reference`,
`source_logprobs`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.artifact import PartFolder, Receipt, reasons_of
from fusion.schema import Reason
from fusion.step import Placement
from fusion.train.config import Dtype
from fusion.writer import ArtifactWriter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKEN_BUDGET = 4096
"""Tokens of one forward pass, padding included."""

Sequences = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
"""Unit key -> (prompt ids, response ids)."""
RowOf = Callable[[str, float, int], Mapping[str, object]]
"""Unit key, sum of log-probabilities, number of tokens -> a row."""


@dataclass(frozen=True, slots=True)
class ForwardTask:
    """Some of the token sequences of one part; the part itself stays in the store."""

    part: str
    wanted: tuple[str, ...]


@dataclass(frozen=True)
class ForwardTasks:
    """What is to be computed, and what of it is left when a worker has died."""

    tasks: tuple[ForwardTask, ...]
    out: ArtifactWriter

    def __iter__(self) -> Iterator[object]:
        return iter(self.tasks)

    def remaining(self, task: object) -> object | None:
        assert isinstance(task, ForwardTask)
        self.out.refresh()
        wanted = tuple(one for one in task.wanted if not self.out.is_done(one))
        return replace(task, wanted=wanted) if wanted else None


class ForwardSession:
    """An open model; one forward pass at a time.

    Args:
        sequences: the token sequences of a part.
        out: where rows go, sorted by unit key.
    """

    def __init__(
        self, model: PreTrainedModel, sequences: Callable[[str], Sequences], row: RowOf, out: PartFolder
    ) -> None:
        self._model = model
        self._turn = threading.Lock()
        self._sequences = lru_cache(4)(sequences)
        self._row = row
        self._out = out

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Compute and commit the rows of a task; a number that is none (overflow, a broken model) is dropped."""
        from fusion.rewards.logprobs import response_logprobs

        assert isinstance(task, ForwardTask)
        began = time.monotonic()
        with self._turn:
            known = self._sequences(task.part)
            prompts, responses = zip(*(known[one] for one in task.wanted), strict=True)
            found = response_logprobs(self._model, prompts, responses, TOKEN_BUDGET)
        numbers = sorted(zip(task.wanted, found, strict=True))
        rows = [self._row(one, total, count) for one, (total, count) in numbers if math.isfinite(total)]
        drops = [
            ((one,), Reason.NOT_FINITE, f"its log-probability is {total}")
            for one, (total, _) in numbers
            if not math.isfinite(total)
        ]
        receipt = Receipt(
            self._out.write(self._out.table.build(rows)),
            self._out.write_drops(drops),
            num_tokens=sum(len(p) + len(r) for p, r in zip(prompts, responses, strict=True)),
            num_requests=len(numbers),
            seconds=time.monotonic() - began,
            reasons=reasons_of(drops),
        )
        return {self._out.path: receipt}


@contextmanager
def open_model(folder: Path, dtype: Dtype, placement: Placement, trust_remote_code: bool) -> Iterator[PreTrainedModel]:
    """A model that reads, where the placement says."""
    import torch
    from transformers import AutoModelForCausalLM

    if not placement.gpus:
        torch.set_num_threads(max(1, round(placement.cpus)))
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, dtype.value),
        trust_remote_code=trust_remote_code,
        # Layers are dealt out to the GPUs of this worker, which work one after the other.
        device_map="auto" if placement.gpus > 1 else "cuda" if placement.gpus else "cpu",
    )
    yield model.eval()


def lengths_of(known: Sequences) -> dict[str, int]:
    """Tokens of each sequence: what a driver keeps of millions of them."""
    return {one: len(prompt) + len(response) for one, (prompt, response) in known.items()}


def cut(
    lengths: Mapping[str, Mapping[str, int]], pending: Collection[str], out: ArtifactWriter, size: int
) -> ForwardTasks:
    """Tasks of at most `size` sequences; one that occurs in two parts is computed once.

    Sequences of a task are about equally long, and the longest come first, so that memory runs out at once or never.

    Args:
        lengths: part -> unit key -> tokens.
        pending: keys that no run has computed.
    """
    left, tasks = set(pending), []
    for part, of_part in lengths.items():
        mine = sorted(left & of_part.keys(), key=lambda one: (-of_part[one], one))
        left -= of_part.keys()
        tasks += [ForwardTask(part, tuple(mine[i : i + size])) for i in range(0, len(mine), size)]
    return ForwardTasks(tuple(tasks), out)
