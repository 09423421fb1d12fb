"""Training rows as token ids: one prompt and its responses, one response a role.

SFT has one response, a preference pair two (chosen, rejected). What does not fit is cut or dropped here, before any
process is started, and counted; trainers see only rows that they can use as they are.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fusion.chat import Renderer
from fusion.errors import ArtifactError
from fusion.schema import PREFERENCE_PAIR, Reason, hash_text, key_string, prompt_of

SCHEMA = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("prompt_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("responses", pa.list_(pa.list_(pa.int32())), nullable=False),
        pa.field("references", pa.list_(pa.float32()), nullable=False),
        pa.field("sources", pa.list_(pa.list_(pa.float32())), nullable=False),
        pa.field("weight", pa.float32()),
        pa.field("group", pa.string(), nullable=False),
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
    sources: tuple[tuple[float, ...], ...] = ()
    """By response: mean log-probability of a token under each source, nats; NaN: that source could not read it; empty:
    the objective needs none."""
    weight: float | None = None
    """Share of its prompt's loss that is this row's; None: rows are not weighted."""
    group: str = ""
    """Rows of one group (a prompt) stand in one optimiser step; empty: the row is alone."""

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
        named = ("prompt_id", "source") if "weight" in example else ("prompt_id",)
        key = key_string([example[column] for column in named])
        rows.append(_weighted(TokenRow(key, tuple(prompt), (tuple(response),)), example))
    return rows, dropped


def pair_rows(
    table: Iterable[Mapping[str, object]], renderer: Renderer, roles: Sequence[str], max_length: int
) -> tuple[list[TokenRow], Counter[str]]:
    """Render rows of a table with one text column a role: pairs, weighted pairs, triples.

    A prompt too long for its longest response loses its beginning, but for the beginning of sequence; no response is
    ever cut, so each keeps its end of turn. A row whose response alone fills `max_length` is dropped, and so is one
    whose last role, the rejected one, is the same tokens as another.
    """
    rows, dropped = [], Counter[str]()
    for pair in table:
        prompt = renderer.prompt_ids(pair["messages"], str(pair["domain"]))  # type: ignore[arg-type]
        responses = tuple(tuple(renderer.response_ids(str(pair[role]))) for role in roles)
        kept = _shortened(prompt, max_length - max(len(response) for response in responses), renderer)
        if not kept:
            dropped[Reason.OVER_LENGTH.value] += 1
        elif responses[-1] in responses[:-1]:
            dropped[Reason.DIFFERENCE_LOST.value] += 1
        else:
            key = key_string([pair[column] for column in ("prompt_id", "pair_index") if column in pair])
            rows.append(_weighted(TokenRow(key, tuple(kept), responses), pair))
    return rows, dropped


def _shortened(prompt: list[int], room: int, renderer: Renderer) -> list[int]:
    """The last `room` tokens of a prompt, the first of them its beginning of sequence where it has one; empty: there is
    no room for a single token of it."""
    if len(prompt) <= room:
        return prompt
    first = prompt[:1] if prompt[0] == renderer.tokenizer.bos_token_id else []
    rest = room - len(first)
    return [*first, *prompt[-rest:]] if rest > 0 else []


def _weighted(row: TokenRow, stored: Mapping[str, object]) -> TokenRow:
    if "weight" not in stored:
        return row
    return replace(row, weight=float(str(stored["weight"])), group=str(stored["prompt_id"]))


def with_references(
    rows: Sequence[TokenRow], logprob_sums: Mapping[str, float], lost: Collection[str], dropped: Counter[str]
) -> list[TokenRow]:
    """Join reference log-probabilities by `tokens_id`.

    Args:
        lost: tokens whose log-probability is no number; a row with such a response is left out.
        dropped: where it is counted.

    Raises:
        ArtifactError: a response has none; its key is named.
    """
    joined = []
    for row in rows:
        ids = [tokens_id(row.prompt_ids, response) for response in row.responses]
        if any(one in lost for one in ids):
            dropped[Reason.NOT_FINITE.value] += 1
            continue
        if missing := [one for one in ids if one not in logprob_sums]:
            raise ArtifactError(
                f"pair {row.key}: no reference log-probability for tokens {missing[0]}; the reference step was made "
                "with another tokenizer, template or max_length: run it again with this configuration"
            )
        joined.append(replace(row, references=tuple(logprob_sums[one] for one in ids)))
    return joined


def with_sources(
    rows: Sequence[TokenRow], texts: Mapping[str, Sequence[str]], means: Sequence[Mapping[tuple[str, str], float]]
) -> list[TokenRow]:
    """Join log-probabilities under the sources by prompt and text.

    Args:
        texts: row key -> text of each response.
        means: of each source, (prompt_id, hash of the text) -> mean log-probability of a token, nats. What a source
            could not read is not there.
    """
    joined = []
    for row in rows:
        prompt = prompt_of(row.key, PREFERENCE_PAIR)
        ids = [(prompt, hash_text(text)) for text in texts[row.key]]
        joined.append(replace(row, sources=tuple(tuple(one.get(key, math.nan) for one in means) for key in ids)))
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
            tuple(tuple(source) for source in row["sources"]),
            row["weight"],
            row["group"],
        )
        for row in pq.read_table(path).to_pylist()
    ]
