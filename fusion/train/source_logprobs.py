"""A worker that computes how likely answers are under a source, in its own tokens, and the tasks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fusion.artifact import PartFolder, Receipt
from fusion.chat import Renderer
from fusion.modelfiles import prepare
from fusion.models import ModelRef, model_facts
from fusion.schema import Reason, hash_text, key_string
from fusion.step import Placement
from fusion.train.config import Dtype
from fusion.train.forward import ForwardSession, ForwardTasks, Sequences, cut, lengths_of, open_model
from fusion.writer import ArtifactWriter

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
    def open(self, placement: Placement) -> Iterator[ForwardSession]:
        renderer = self.renderer()
        with open_model(self.folder, self.dtype, placement, self.model.trust_remote_code) as model:
            yield ForwardSession(model, lambda part: self.sequences(renderer, part)[0], _row, self.out)


def source_tasks(worker: SourceLogprobWorker, parts: Sequence[str], out: ArtifactWriter, size: int) -> ForwardTasks:
    """Tasks of at most `size` answers that no run has computed; what the source cannot read is dropped at once."""
    renderer = worker.renderer()
    lengths: dict[str, dict[str, int]] = {}
    dropped: dict[Unit, Reason] = {}
    for part in parts:
        known, unread = worker.sequences(renderer, part)
        lengths[part] = lengths_of(known)
        dropped |= unread
    units = [unit for of_part in lengths.values() for unit in of_part]
    pending = set(out.pending(dict.fromkeys([*units, *map(key_string, dropped)])))
    drops = [(unit, reason, "") for unit, reason in sorted(dropped.items()) if key_string(unit) in pending]
    out.accept(Receipt(drops=out.folder.write_drops(drops)))
    return cut(lengths, pending, out, size)


def _row(unit: str, total: float, count: int) -> Mapping[str, object]:
    """SOURCE_LOGPROB."""
    prompt_id, text_hash = unit.rsplit("/", 1)
    return {"prompt_id": prompt_id, "text_hash": text_hash, "logprob_sum": total, "num_tokens": count}
