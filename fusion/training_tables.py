"""Tables that preference training of FuseChat-3.0's relatives reads, beside SFT_EXAMPLE and PREFERENCE_PAIR.

WEIGHTED_SFT, WEIGHTED_PAIR   FuseRL: the best answer (and the best/worst pair) of every source, with a weight
PREFERENCE_TRIPLE             WRPO: a source's best answer, and the best and the worst of the target itself
SOURCE_LOGPROB                InfiFPO: how likely an answer is under a source, in that source's own tokens
"""

from __future__ import annotations

import pyarrow as pa

from fusion.schema import MESSAGES, PREFERENCE_PAIR, SCORED, SFT_EXAMPLE
from fusion.table import Table

WEIGHT = [
    pa.field("weight", pa.float32(), nullable=False),  # in (0, 1]; the weights of one prompt sum to 1
    pa.field("effective_sources", pa.float32(), nullable=False),  # exp(H(weights)) of the prompt, 1 to its sources
]


def _required(**columns: pa.DataType) -> list[pa.Field]:
    return [pa.field(name, kind, nullable=False) for name, kind in columns.items()]


WEIGHTED_SFT = Table(
    "weighted_sft",
    pa.schema([*SFT_EXAMPLE.schema, *WEIGHT]),
    key=("prompt_id", "source"),
    unit=("prompt_id",),
)

WEIGHTED_PAIR = Table(
    "weighted_pair",
    pa.schema([*PREFERENCE_PAIR.schema, *WEIGHT]),
    key=PREFERENCE_PAIR.key,
    unit=("prompt_id",),
)

PREFERENCE_TRIPLE = Table(
    "preference_triple",
    pa.schema(
        _required(
            prompt_id=pa.string(),
            domain=pa.string(),
            messages=MESSAGES,
            source_chosen=pa.string(),
            target_chosen=pa.string(),
            rejected=pa.string(),
            source_chosen_source=pa.string(),
            source_chosen_index=pa.int32(),
            target_chosen_index=pa.int32(),
            rejected_index=pa.int32(),
            source_chosen_rewards=SCORED,
            target_chosen_rewards=SCORED,
            rejected_rewards=SCORED,
            margin=pa.float32(),  # ranking reward of target_chosen minus rejected
            source_margin=pa.float32(),  # of source_chosen minus target_chosen; below 0 where the target is better
            rule=pa.string(),
        )
    ),
    key=("prompt_id",),
    unit=("prompt_id",),
)

SOURCE_LOGPROB = Table(
    "source_logprob",
    pa.schema(
        _required(
            prompt_id=pa.string(),
            text_hash=pa.string(),  # of the response: whoever gave it, and under whatever index
            logprob_sum=pa.float32(),  # nats
            num_tokens=pa.int32(),  # the source's own, those in the sum
        )
    ),
    key=("prompt_id", "text_hash"),
    unit=("prompt_id", "text_hash"),
)
