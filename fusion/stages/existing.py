"""Existing: answers that the data set of the prompts itself brings become RESPONSE rows of one source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fusion.artifact import Receipt
from fusion.generators.base import Sampling
from fusion.prompts.base import Prompts
from fusion.prompts.existing import existing_responses
from fusion.runtime import Runtime
from fusion.schema import RESPONSE, key_string
from fusion.work import Work

PART_ROWS = 4096


@dataclass(kw_only=True)
class ExistingConfig:
    """One source's answers in a data set."""

    source: str
    existing: Prompts
    sampling: Sampling
    """Only the number of samples counts: the first so many of a prompt, none where its domain has 0."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Input: `prompts`. Output: RESPONSE; a prompt to which the data set has no answer has no row.

    Raises:
        ConfigError: the data set cannot be read, or holds no answers.
    """
    for work in works:
        _commit(work)


def _commit(work: Work) -> None:
    config, out = work.step.config, work.rows_out
    assert isinstance(config, ExistingConfig)
    rows = _rows(work, config)
    pending = set(out.pending(dict.fromkeys(rows)))
    left = [row for key, row in rows.items() if key in pending]
    for start in range(0, len(left), PART_ROWS):
        out.accept(Receipt(out.folder.write(RESPONSE.build(left[start : start + PART_ROWS]))))
    work.progress(len(rows), len(rows))


def _rows(work: Work, config: ExistingConfig) -> dict[str, dict[str, object]]:
    table = work.table_in("prompts").read(["prompt_id", "domain"])
    domains = dict(zip(table["prompt_id"].to_pylist(), table["domain"].to_pylist(), strict=True))
    taken: Counter[str] = Counter()
    rows: dict[str, dict[str, object]] = {}
    for prompt, text in existing_responses(config.existing):
        if prompt not in domains or taken[prompt] >= config.sampling.num_samples_of(domains[prompt]):
            continue
        row = {
            "prompt_id": prompt,
            "source": config.source,
            "sample_index": taken[prompt],
            "text": text,
            "num_tokens": None,
            "finish_reason": "stop",
            "seed": None,
            "logprob_sum": None,
        }
        rows[key_string((prompt, config.source, taken[prompt]))] = row
        taken[prompt] += 1
    return rows
