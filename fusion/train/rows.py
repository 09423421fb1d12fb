"""Training rows as token ids: one prompt and its responses, one response a role.

SFT has one response, a preference pair two (chosen, rejected). What does not fit is cut or dropped here, before any
process is started, and counted; trainers see only rows that they can use as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fusion.chat import Renderer
from fusion.errors import ArtifactError
from fusion.schema import Reason, hash_text, key_string

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("prompt_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("responses", pa.list_(pa.list_(pa.int32())), nullable=False),
        pa.field("references", pa.list_(pa.float32()), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One row of training data.

    Example: TokenRow("3f2a/0", (1, 17, 4), ((8, 2), (9, 9, 2)), (-3.2, -7.9))
    """

    key: str
    prompt_ids: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]
    """In the order of the objective's roles, each with its end of turn."""
    references: tuple[float, ...] = ()
    """Log-probability of each response under the reference model, nats; empty: the objective needs none."""

    @property
    def num_tokens(self) -> int:
        """Tokens that a forward pass sees: the prompt stands before each response."""
        return sum(len(self.prompt_ids) + len(response) for response in self.responses)


def tokens_id(prompt_ids: Sequence[int], response_ids: Sequence[int]) -> str:
    """Key of the LOGPROB table: the same tokens are found whatever run or table they come from."""
    return hash_text(json.dumps(list(prompt_ids)), json.dumps(list(response_ids)), length=24)


def sft_rows(
    table: Iterable[Mapping[str, object]], renderer: Renderer, max_length: int
) -> tuple[list[TokenRow], Counter[str]]:
    """Render SFT_EXAMPLE rows; a row longer than `max_length` tokens is dropped. Returns rows and drops by reason."""
    rows, dropped = [], Counter[str]()
    for example in table:
        prompt = renderer.prompt_ids(example["messages"], str(example["domain"]))  # type: ignore[arg-type]
        response = renderer.response_ids(str(example["response"]))
        if len(prompt) + len(response) > max_length:
            dropped[Reason.OVER_LENGTH.value] += 1
            continue
        rows.append(TokenRow(str(example["prompt_id"]), tuple(prompt), (tuple(response),)))
    return rows, dropped


def pair_rows(
    table: Iterable[Mapping[str, object]], renderer: Renderer, roles: Sequence[str], max_length: int
) -> tuple[list[TokenRow], Counter[str]]:
    """Render PREFERENCE_PAIR rows (or any table with one text column a role).

    A prompt too long for its longest response loses its beginning; no response is ever cut, so each keeps its end of
    turn. A pair whose response alone fills `max_length` is dropped, and so is one whose responses are the same tokens.
    """
    rows, dropped = [], Counter[str]()
    for pair in table:
        prompt = renderer.prompt_ids(pair["messages"], str(pair["domain"]))  # type: ignore[arg-type]
        responses = tuple(tuple(renderer.response_ids(str(pair[role]))) for role in roles)
        room = max_length - max(len(response) for response in responses)
        if room < 1:
            dropped[Reason.OVER_LENGTH.value] += 1
        elif len(set(responses)) < len(responses):
            dropped[Reason.DIFFERENCE_LOST.value] += 1
        else:
            key = key_string([pair["prompt_id"], pair["pair_index"]])
            rows.append(TokenRow(key, tuple(prompt[-room:]), responses))
    return rows, dropped


def with_references(rows: Sequence[TokenRow], logprob_sums: Mapping[str, float]) -> list[TokenRow]:
    """Join reference log-probabilities by `tokens_id`.

    Raises:
        ArtifactError: a response has none; its key is named.
    """
    joined = []
    for row in rows:
        ids = [tokens_id(row.prompt_ids, response) for response in row.responses]
        if missing := [one for one in ids if one not in logprob_sums]:
            raise ArtifactError(
                f"pair {row.key}: no reference log-probability for tokens {missing[0]}; the reference step was made "
                "with another tokenizer, template or max_length: run it again with this configuration"
            )
        joined.append(TokenRow(row.key, row.prompt_ids, row.responses, tuple(logprob_sums[one] for one in ids)))
    return joined


def write_rows(path: Path, rows: Sequence[TokenRow]) -> None:
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
    pq.write_table(pa.table(columns, schema=SCHEMA), path)


def read_rows(path: Path) -> list[TokenRow]:
    return [
        TokenRow(
            row["key"],
            tuple(row["prompt_ids"]),
            tuple(tuple(response) for response in row["responses"]),
            tuple(row["references"]),
        )
        for row in pq.read_table(path).to_pylist()
    ]
