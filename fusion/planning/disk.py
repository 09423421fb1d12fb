"""What each step leaves in the store, and what models weigh, in bytes."""

from __future__ import annotations

from fusion.planning.memory import trained_parameters
from fusion.planning.shapes import Shape, bytes_of
from fusion.train.config import Dtype, TrainingConfig

TEXT_BYTES_PER_TOKEN = 1.8
"""Parquet with zstd in parts of 64 answers: 14,410 AlpacaEval answers of 22 models, Llama 3 tokens (4.6 as plain text;
1.4 in one part)."""
KEY_BYTES = 60.0
"""Keys, numbers and short texts of one row, compressed: a key is a hash, which is not compressible. A guess."""


def table_bytes(rows: int, text_tokens: float = 0.0) -> float:
    """rows · keys + tokens · text."""
    return rows * KEY_BYTES + text_tokens * TEXT_BYTES_PER_TOKEN


def distribution_bytes(top_k: int) -> float:
    """Of one token in a table of distributions: its id and log-probability, the residual, and its candidates."""
    return 4 + 4 + 2 + 6 * top_k


def checkpoint_bytes(shape: Shape, train: TrainingConfig) -> float:
    """The exported weights, and the checkpoints to resume from: weights, and fp32 weights and two moments of what is
    trained."""
    weights = shape.weight_bytes(train.dtype.value)
    state = (8 if train.dtype is Dtype.FLOAT32 else 12) * trained_parameters(shape, train)
    kept = train.execution.keep_last if train.execution.save_every_steps else 0
    return weights + kept * (weights + state)


def download_bytes(shape: Shape) -> float:
    """A model as the hub has it, in bfloat16."""
    return float(shape.parameters * bytes_of("bfloat16"))
