"""A worker that computes log-probabilities of pairs' answers under the reference model, and the tasks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fusion.artifact import PartFolder
from fusion.chat import Renderer
from fusion.modelfiles import prepare
from fusion.models import ChatConfig, ModelRef
from fusion.step import Placement
from fusion.train.config import Dtype
from fusion.train.forward import ForwardSession, ForwardTasks, Sequences, cut, lengths_of, open_model
from fusion.train.rows import pair_rows, tokens_id
from fusion.transfer import on_disk
from fusion.writer import ArtifactWriter


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
        """The token sequences of a part of the pairs, as training will see them, by tokens_id."""
        rows, _ = pair_rows(self.pairs.read(part).to_pylist(), renderer, self.roles, self.max_length)
        return {
            tokens_id(row.prompt_ids, response): (row.prompt_ids, response)
            for row in rows
            for response in row.responses
        }

    def renderer(self) -> Renderer:
        return Renderer.load(self.folder, self.chat, self.trust_remote_code)

    @contextmanager
    def open(self, placement: Placement) -> Iterator[ForwardSession]:
        renderer = self.renderer()
        with open_model(self.folder, self.dtype, placement, self.trust_remote_code) as model:
            yield ForwardSession(model, lambda part: self.sequences(renderer, part), _row, self.out)


def reference_tasks(worker: ReferenceWorker, parts: Sequence[str], out: ArtifactWriter, size: int) -> ForwardTasks:
    """Tasks of at most `size` sequences that no run has computed."""
    renderer = worker.renderer()
    lengths = {part: lengths_of(worker.sequences(renderer, part)) for part in parts}
    return cut(lengths, out.pending(dict.fromkeys(one for known in lengths.values() for one in known)), out, size)


def _row(tokens: str, total: float, count: int) -> Mapping[str, object]:
    """LOGPROB."""
    return {"tokens_id": tokens, "logprob_sum": total, "num_tokens": count}
