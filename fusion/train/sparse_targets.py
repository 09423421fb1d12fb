"""Fused targets beside a training job: on disk, mapped into memory, found by row key.

A corpus has tens of gigabytes of them, so no process holds them all; a micro-batch reads its own rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from fusion.errors import ArtifactError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

COLUMNS = ("prompt_id", "widths", "top_ids", "top_probs")


def write_targets(path: Path, parts: Iterable[pa.Table]) -> None:
    """Write FUSED_TARGET rows, a part at a time."""
    writer = None
    for part in parts:
        chosen = part.select(COLUMNS)
        writer = writer or pa.ipc.new_file(path, chosen.schema)
        writer.write_table(chosen)
    if writer is None:
        raise ArtifactError(f"{path}: there are no targets")
    writer.close()


@dataclass(frozen=True)
class SparseTargets:
    """The rows of `write_targets`."""

    batches: tuple[pa.RecordBatch, ...]
    where: dict[str, tuple[int, int]]
    """Key -> batch and row."""

    @classmethod
    def open(cls, path: Path) -> SparseTargets:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        batches = tuple(reader.get_batch(i) for i in range(reader.num_record_batches))
        keys = [batch.column("prompt_id").to_pylist() for batch in batches]
        where = {key: (b, row) for b, own in enumerate(keys) for row, key in enumerate(own)}
        return cls(batches, where)

    def row(self, key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Widths [T], ids and probabilities [sum of widths] of one response.

        Raises:
            ArtifactError: it has no target.
        """
        if key not in self.where:
            raise ArtifactError(f"row {key} has no target; its targets were made from other texts")
        batch, row = self.where[key]
        columns = (self.batches[batch].column(name)[row].values for name in COLUMNS[1:])
        widths, ids, probs = (column.to_numpy(zero_copy_only=False) for column in columns)
        return widths, ids, probs

    def tensors(self, keys: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Ids int64 [M, K] and probabilities fp32 [M, K] of all tokens of these rows, one after the other; K is the
        widest place, and what a place lacks has probability 0."""
        import numpy as np
        import torch

        rows = [self.row(key) for key in keys]
        widths = np.concatenate([np.zeros(0, np.int64), *(row[0] for row in rows)]).astype(np.int64)
        filled = np.arange(max(1, int(widths.max(initial=0)))) < widths[:, None]
        ids, probs = np.zeros(filled.shape, np.int64), np.zeros(filled.shape, np.float32)
        if rows:
            ids[filled] = np.concatenate([row[1] for row in rows])
            probs[filled] = np.concatenate([row[2] for row in rows])
        return torch.from_numpy(ids), torch.from_numpy(probs)
