"""The tables of the house: Arrow schemas with primary keys.

A table is long: one row a thing, explicit keys, no row numbers. Keys are content hashes, so splits, seeds and joins
survive re-ordering and growth. Text lives in exactly one table; the others refer to it by key, except the training
tables (SFT_EXAMPLE, PREFERENCE_PAIR), which are what other tools read and therefore carry their text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum

import pyarrow as pa

from fusion.table import Table

MESSAGE = pa.struct([pa.field("role", pa.string(), nullable=False), pa.field("content", pa.string(), nullable=False)])
MESSAGES = pa.list_(MESSAGE)


def _table(
    name: str,
    key: str,
    columns: Mapping[str, pa.DataType],
    null: str = "",
    unit: str = "",
    guard: str | None = None,
) -> Table:
    """Short declaration: `key`, `null` (nullable columns) and `unit` are space-separated names."""
    nullable = set(null.split())
    fields = [pa.field(column, kind, nullable=column in nullable) for column, kind in columns.items()]
    return Table(name, pa.schema(fields), tuple(key.split()), tuple((unit or key).split()), guard)


SAMPLE_KEY = "prompt_id source sample_index"

PROMPT = _table(
    "prompt",
    "prompt_id",
    {
        "prompt_id": pa.string(),
        "messages": MESSAGES,
        "domain": pa.string(),  # instruction, math, code, chinese, or the name of a task family
        "dataset": pa.string(),
        "reference": pa.string(),  # gold answer or tests; null: none exists
    },
    null="reference",
)

RESPONSE = _table(
    "response",
    SAMPLE_KEY,
    {
        "prompt_id": pa.string(),
        "source": pa.string(),
        "sample_index": pa.int32(),
        "text": pa.string(),
        "num_tokens": pa.int32(),  # under the source's tokenizer, end of turn included; null: a stored answer's
        "finish_reason": pa.string(),  # stop | length
        "seed": pa.int64(),  # null: a stored answer's, or nothing was drawn
        "logprob_sum": pa.float32(),  # nats under the source; null: the engine did not report it
    },
    null="num_tokens seed logprob_sum",
)


class Outcome(StrEnum):
    """What a verifier may say. Only PASS against FAIL may form a pair; an exception is never a score."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    ERROR = "error"
    TIMEOUT = "timeout"
    NOT_APPLICABLE = "not_applicable"


REWARD = _table(
    "reward",
    SAMPLE_KEY,
    {
        "prompt_id": pa.string(),
        "source": pa.string(),
        "sample_index": pa.int32(),
        "outcome": pa.string(),  # an Outcome; rewards that only measure say not_applicable
        "value": pa.float32(),  # null: no number, e.g. a verifier that could not decide
        "detail": pa.string(),
        "text_hash": pa.string(),  # of the response scored: a score never passes to another text under the same key
    },
    null="value detail",
    guard="text_hash",
)

SCORED = pa.list_(
    pa.struct([pa.field("reward", pa.string()), pa.field("outcome", pa.string()), pa.field("value", pa.float32())])
)

SFT_EXAMPLE = _table(
    "sft_example",
    "prompt_id",
    {
        "prompt_id": pa.string(),
        "domain": pa.string(),
        "messages": MESSAGES,
        "response": pa.string(),
        "source": pa.string(),
        "sample_index": pa.int32(),
        "rewards": SCORED,
        "rule": pa.string(),
    },
)

PREFERENCE_PAIR = _table(
    "preference_pair",
    "prompt_id pair_index",
    {
        "prompt_id": pa.string(),
        "pair_index": pa.int32(),
        "domain": pa.string(),
        "messages": MESSAGES,
        "chosen": pa.string(),
        "rejected": pa.string(),
        "chosen_source": pa.string(),
        "rejected_source": pa.string(),
        "chosen_index": pa.int32(),
        "rejected_index": pa.int32(),
        "chosen_rewards": SCORED,
        "rejected_rewards": SCORED,
        "margin": pa.float32(),  # ranking reward of chosen minus rejected
        "rule": pa.string(),
    },
    unit="prompt_id",
)

LOGPROB = _table(
    "logprob",
    "tokens_id",
    {
        "tokens_id": pa.string(),  # hash of prompt ids and response ids, so any run with the same tokens finds it
        "logprob_sum": pa.float32(),  # nats
        "num_tokens": pa.int32(),
    },
)

TRUST = _table(
    "trust",
    "reward gate",
    {
        "reward": pa.string(),
        "gate": pa.string(),
        "passed": pa.bool_(),  # null: there was nothing to measure it on
        "measured": pa.float64(),
        "limit": pa.float64(),
        "detail": pa.string(),
    },
    null="passed measured",
)

DROP = _table("drop", "key", {"key": pa.string(), "reason": pa.string(), "kind": pa.string(), "detail": pa.string()})

EVALUATION = _table(
    "evaluation",
    "model domain",
    {
        "model": pa.string(),  # a role (base, sft, final) or a source
        "domain": pa.string(),  # "overall": the mean over domains
        "score": pa.float64(),  # mean over prompts of the share of their samples that passed
        "low": pa.float64(),  # 95% interval
        "high": pa.float64(),
        "n": pa.int32(),  # prompts
        "num_samples": pa.int32(),
        "undecided": pa.int32(),  # samples without a pass or fail; they count as not passed
    },
)

COMPARISON = _table(
    "comparison",
    "model against domain",
    {
        "model": pa.string(),
        "against": pa.string(),
        "domain": pa.string(),
        "difference": pa.float64(),  # score of model minus score of against, on the same prompts
        "low": pa.float64(),  # 95% interval
        "high": pa.float64(),
        "n": pa.int32(),
        "wins": pa.int32(),  # prompts on which model scores higher
        "losses": pa.int32(),
        "p_value": pa.float64(),  # two-sided: of a domain the exact sign test, of the mean over domains its interval's
    },
)


class Reason(StrEnum):
    """The closed list of why a row does not go on. `kind` is dropped (a decision) or failed (a fault of the row)."""

    EMPTY_PROMPT = "empty_prompt"
    DUPLICATE_PROMPT = "duplicate_prompt"
    NEAR_DUPLICATE_PROMPT = "near_duplicate_prompt"
    OVER_LIMIT = "over_limit"
    EXCLUDED_DOMAIN = "excluded_domain"
    OTHER_LANGUAGE = "other_language"
    PROMPT_TOO_SHORT = "prompt_too_short"
    NO_REFERENCE = "no_reference"
    NO_TESTS = "no_tests"
    IN_BENCHMARK = "in_benchmark"
    PROMPT_DROPPED = "prompt_dropped"
    PROMPT_TOO_LONG = "prompt_too_long"
    EMPTY_RESPONSE = "empty_response"
    REQUEST_FAILED = "request_failed"
    SCORER_FAILED = "scorer_failed"
    NO_RESPONSE = "no_response"
    UNCLEAN = "unclean"
    NO_PASSING_RESPONSE = "no_passing_response"
    NO_FAILING_RESPONSE = "no_failing_response"
    NO_SAME_SOURCE_PAIR = "no_same_source_pair"
    MARGIN_OUTSIDE_WINDOW = "margin_outside_window"
    TIE = "tie"
    OTHER_PHASE = "other_phase"
    TRUNCATED = "truncated"
    OVER_LENGTH = "over_length"
    DIFFERENCE_LOST = "difference_lost"
    NOT_FINITE = "not_finite"
    NOT_SPELLED = "not_spelled"
    NO_DISTRIBUTION = "no_distribution"


def key_string(values: Sequence[object]) -> str:
    """A row key as one printable string: `3f2a.../gemma3_270m/2`."""
    return "/".join(str(value) for value in values)


def prompt_of(key: str, table: Table) -> str:
    """The prompt in the printed key of a row. A prompt's own name may hold a slash (HumanEval/0); what follows may not.

    Example: prompt_of("HumanEval/0/gemma3_270m/2", RESPONSE) == "HumanEval/0"
    """
    return key.rsplit("/", len(table.key) - 1)[0]


def hash_text(*parts: str, length: int = 16) -> str:
    """Hex digest of strings; parts are length-prefixed, so ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:length]


def prompt_id(messages: Sequence[Mapping[str, str]], reference: str | None) -> str:
    """Content hash of canonical messages and reference: a changed gold answer is another prompt."""
    canonical = json.dumps([[m["role"], m["content"].strip()] for m in messages], ensure_ascii=False)
    return hash_text(canonical, "" if reference is None else "=" + reference)


def sample_seed(run_seed: int, prompt: str, source: str, sample_index: int) -> int:
    """Seed of one sample in [0, 2**31): the same whichever actor, batch or restart serves it."""
    return int(hash_text(str(run_seed), prompt, source, str(sample_index), length=15), 16) % 2**31
