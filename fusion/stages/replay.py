"""Replay: answers that exist become RESPONSE rows, with no engine.

Sources of one file form a gang, so that it is read once. An answer to a prompt that was dropped (a duplicate, a
benchmark's) is dropped with it, by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from fusion.artifact import Receipt
from fusion.runtime import Runtime
from fusion.schema import RESPONSE, Reason, key_string
from fusion.stored import StoredAnswer, StoredResponses
from fusion.work import Work

PART_ROWS = 4096

Unit = tuple[str, str, int]


@dataclass(kw_only=True)
class ReplayConfig:
    """One source's answers in a file."""

    source: str
    stored: StoredResponses


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Input: `prompts`. Output: RESPONSE of the works' sources.

    Raises:
        ConfigError: the file is malformed.
    """
    by_source: dict[str, list[StoredAnswer]] = {_config(work).source: [] for work in works}
    for answer in _config(works[0]).stored.answers():
        if answer.source in by_source:
            by_source[answer.source].append(answer)
    for work in works:
        _commit(work, by_source[_config(work).source])


def _commit(work: Work, answers: Sequence[StoredAnswer]) -> None:
    out = work.rows_out
    prompts = set(work.table_in("prompts").read(["prompt_id"])["prompt_id"].to_pylist())
    units = {key_string(_unit(answer)): answer for answer in answers}
    pending = out.pending(dict.fromkeys(units))
    done = len(units) - len(pending)
    left = iter(pending)
    while chunk := [units[key] for key in islice(left, PART_ROWS)]:
        rows = [_row(answer) for answer in chunk if answer.prompt_id in prompts]
        drops = list(_drops(answer for answer in chunk if answer.prompt_id not in prompts))
        out.accept(Receipt(out.folder.write(RESPONSE.build(rows)), out.folder.write_drops(drops)))
        done += len(chunk)
        work.progress(done, len(units))


def _row(answer: StoredAnswer) -> dict[str, object]:
    return {
        "prompt_id": answer.prompt_id,
        "source": answer.source,
        "sample_index": answer.sample_index,
        "text": answer.text,
        "num_tokens": answer.num_tokens,
        "finish_reason": answer.finish_reason,
        "seed": None,
        "logprob_sum": None,
    }


def _drops(answers: Iterator[StoredAnswer]) -> Iterator[tuple[Unit, Reason, str]]:
    for answer in answers:
        yield _unit(answer), Reason.PROMPT_DROPPED, answer.key


def _unit(answer: StoredAnswer) -> Unit:
    return answer.prompt_id, answer.source, answer.sample_index


def _config(work: Work) -> ReplayConfig:
    config = work.step.config
    assert isinstance(config, ReplayConfig)
    return config
