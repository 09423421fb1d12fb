"""A worker that takes its time in earnest: answers have real lengths, and it sleeps as long as their tokens take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fusion.artifact import Receipt
from fusion.runtime import Session
from fusion.schema import RESPONSE, hash_text
from fusion.stages.generate_tasks import Asked
from fusion.step import Placement


@dataclass(frozen=True)
class PacedWorker:
    """As an engine with room for everything: an answer of n tokens takes n · token_s."""

    lengths: tuple[int, ...]
    token_s: float

    @contextmanager
    def open(self, placement: Placement) -> Iterator[Session]:
        yield PacedSession(self)


@dataclass(frozen=True)
class PacedSession:
    spec: PacedWorker

    def process(self, task: object) -> Mapping[str, Receipt]:
        assert isinstance(task, Asked)
        started = time.monotonic()
        rows: list[dict[str, object]] = []
        for prompt, indices in task.samples:
            rows += [self._row(prompt, task.source, index) for index in indices]
        longest = max(int(str(row["num_tokens"])) for row in rows)
        time.sleep(max(0.0, longest * self.spec.token_s - (time.monotonic() - started)))
        parts = task.out.write(RESPONSE.build(rows))
        return {task.out.path: Receipt(parts, num_tokens=len(rows), num_requests=len(rows))}

    def _row(self, prompt: str, source: str, index: int) -> dict[str, object]:
        lengths = self.spec.lengths
        number = int(hash_text(prompt, str(index))[:8], 16) % len(lengths)
        return {
            "prompt_id": prompt, "source": source, "sample_index": index, "text": f"{prompt} " * (lengths[number] // 4),
            "num_tokens": lengths[number], "finish_reason": "stop", "seed": number, "logprob_sum": None,
        }  # fmt: skip
