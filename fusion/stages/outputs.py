"""Outputs: answers that somebody stored become RESPONSE rows of a benchmark's items, found by name.

What each model was asked may differ from the benchmark's own form of prompt; the answer is scored against the same gold
answer. Sources of one file form a gang, so that it is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.artifact import Receipt
from fusion.outputs import Output, Outputs
from fusion.prompts.items import Items
from fusion.runtime import Runtime
from fusion.schema import RESPONSE, Reason, key_string, prompt_id
from fusion.work import Work


@dataclass(kw_only=True)
class OutputsConfig:
    """One source's answers in a file."""

    source: str
    outputs: Outputs
    data: Items
    """Says which name belongs to which prompt."""


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Input: `prompts`. Output: RESPONSE of the works' sources; an answer to no item is dropped by name.

    Raises:
        ConfigError: a row does not fit a template.
    """
    config = _config(works[0])
    ids = {prompt.key: prompt_id(prompt.messages, prompt.reference) for prompt in config.data.read()}
    by_source: dict[str, list[Output]] = {_config(work).source: [] for work in works}
    for answer in config.outputs.answers():
        if answer.source in by_source:
            by_source[answer.source].append(answer)
    for work in works:
        _commit(work, by_source[_config(work).source], ids)


def _commit(work: Work, answers: Sequence[Output], ids: dict[str, str]) -> None:
    out = work.rows_out
    inside = set(work.table_in("prompts").read(["prompt_id"])["prompt_id"].to_pylist())
    rows: dict[str, dict[str, object]] = {}
    drops = []
    for answer in answers:
        own_id = ids.get(answer.item, "")
        # Two items that are one prompt have one answer, the first.
        unit = (own_id or answer.item, answer.source, answer.sample_index)
        key = key_string(unit)
        if own_id in inside and key not in rows:
            rows[key] = _row(own_id, answer)
        elif key not in rows:
            drops.append((unit, Reason.PROMPT_DROPPED, answer.key))
    out.expect({*rows, *(key_string(unit) for unit, *_ in drops)})
    left = [row for key, row in rows.items() if not out.is_done(key)]
    left_drops = [drop for drop in drops if not out.is_done(key_string(drop[0]))]
    out.accept(Receipt(out.folder.write(RESPONSE.build(left)), out.folder.write_drops(left_drops)))
    work.progress(len(rows), len(rows))


def _row(own_id: str, answer: Output) -> dict[str, object]:
    return {
        "prompt_id": own_id,
        "source": answer.source,
        "sample_index": answer.sample_index,
        "text": answer.text,
        "num_tokens": None,
        "finish_reason": answer.finish_reason,
        "seed": None,
        "logprob_sum": None,
    }


def _config(work: Work) -> OutputsConfig:
    config = work.step.config
    assert isinstance(config, OutputsConfig)
    return config
