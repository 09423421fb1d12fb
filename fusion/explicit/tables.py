"""The tables of explicit fusion. All are joined by prompt_id; a row number means nothing in any of them.

Long values of a sequence lie one after the other in list columns: T response tokens (end of turn included), k
candidates each. At k = 10 that is 70 bytes a token before compression.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from fusion.schema import hash_text
from fusion.table import Table


def _fields(columns: Mapping[str, pa.DataType], null: tuple[str, ...] = ()) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name in null) for name, kind in columns.items()])


TOKEN_DISTRIBUTION = Table(
    "token_distribution",
    _fields(
        {
            "prompt_id": pa.string(),
            "text_hash": pa.string(),  # of all that the model was shown: see `shown_hash`
            "num_bytes": pa.int32(),  # of the response's text
            "token_ids": pa.list_(pa.int32()),  # [T] of the response, under the model's own tokenizer
            "logprobs": pa.list_(pa.float32()),  # [T] of these tokens, nats
            "top_ids": pa.list_(pa.int32()),  # [T k] the likeliest tokens at each place, likeliest first
            "top_logprobs": pa.list_(pa.float16()),  # [T k] nats; log-probabilities, for fp16 logits may overflow
            "residual": pa.list_(pa.float16()),  # [T] of all other tokens together; see below
        }
    ),
    key=("prompt_id",),
    unit=("prompt_id",),
    guard="text_hash",
)
"""What one model expects at each place of given responses; the entry for a token is what stood before it was read.

No step reads `residual`: it is for who looks whether k is large enough, and 1 less the sum of k numbers in fp16 would
be lost in their rounding.
"""

LINK_COUNT = Table(
    "link_count",
    _fields({"shard": pa.string(), "pivot_id": pa.int32(), "source_id": pa.int32(), "count": pa.int64()}),
    key=("shard", "pivot_id", "source_id"),
    unit=("shard",),
)
"""How often two tokens were aligned, by shard of the texts; shards add up."""

FUSED_TARGET = Table(
    "fused_target",
    _fields(
        {
            "prompt_id": pa.string(),
            "text_hash": pa.string(),  # of the pivot's distribution
            "token_ids": pa.list_(pa.int32()),  # [T] of the response, under the pivot's tokenizer
            "widths": pa.list_(pa.int32()),  # [T] candidates at each place
            "top_ids": pa.list_(pa.int32()),  # [sum of widths]
            "top_probs": pa.list_(pa.float16()),  # [sum of widths]
            "winner": pa.string(),  # the model whose distributions these are; null: several
            "source_frac": pa.float32(),  # share of places at which a source other than the pivot has a say
        },
        null=("winner",),
    ),
    key=("prompt_id",),
    unit=("prompt_id",),
)
"""The distribution that the target is to learn at each place of a response."""

TEXT_LOSS = Table(
    "text_loss",
    _fields(
        {
            "model": pa.string(),
            "nats_per_token": pa.float64(),  # under the model's own tokenizer
            "bits_per_byte": pa.float64(),  # comparable between tokenizers
            "low": pa.float64(),  # 95% interval of bits_per_byte over texts
            "high": pa.float64(),
            "difference": pa.float64(),  # bits_per_byte less the baseline's on the same texts; null: this is it
            "difference_low": pa.float64(),
            "difference_high": pa.float64(),
            "baseline": pa.string(),
            "n": pa.int32(),  # texts that every model could read
            "num_tokens": pa.int64(),
            "num_bytes": pa.int64(),
        },
        null=("difference", "difference_low", "difference_high"),
    ),
    key=("model",),
    unit=("model",),
)
"""Loss of models on texts that none of them was trained on."""


def shown_hash(example: Mapping[str, object]) -> str:
    """Content hash of everything of an SFT_EXAMPLE that decides what a model reads."""
    messages = json.dumps(
        [[m["role"], m["content"]] for m in example["messages"]],  # type: ignore[attr-defined]
        ensure_ascii=False,
    )
    return hash_text(messages, str(example["domain"]), str(example["response"]), length=24)


def nested(rows: list[list[object]], kind: pa.DataType) -> pa.Array:
    """List column of numpy arrays or lists."""
    return pa.array(rows, type=pa.list_(kind))
