"""Texts to learn from, or to keep unseen: PROMPT -> SFT_EXAMPLE.

Documents are cut into blocks that fit every model; dialogs take the answer that the data set gives. Which of them are
held out follows from a hash of the prompt_id, so no document lies on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fusion.artifact import Receipt
from fusion.errors import ConfigError, FusionError
from fusion.explicit.config import Form, TextsConfig
from fusion.explicit.reader import ReadBy, Reader
from fusion.explicit.spans import SpanError
from fusion.prompts.base import Prompts
from fusion.prompts.existing import existing_responses
from fusion.runtime import Runtime
from fusion.schema import SFT_EXAMPLE, Reason, hash_text
from fusion.work import Work

PART_ROWS = 1024

Drop = tuple[Sequence[object], Reason, str]
Example = dict[str, object]


@dataclass(kw_only=True)
class TextsStepConfig:
    """The step's config."""

    texts: TextsConfig
    held_out: bool
    """Take the texts that are kept unseen, rather than the others."""
    readers: list[ReadBy]
    """Documents: models whose tokenizers a block must fit. Dialogs: none."""
    dialogs: Prompts | None = None
    """Dialogs: the data set, which holds the answers; null: documents."""
    seed: int = 42


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Input: `prompts`.

    Raises:
        ConfigError: dialogs without answers.
    """
    for work in works:
        _write(work)


def _write(work: Work) -> None:
    config, out = work.step.config, work.rows_out
    assert isinstance(config, TextsStepConfig)
    rows: list[Example] = []
    drops: list[Drop] = []
    prompts = work.table_in("prompts").read(["messages", "domain"]).to_pylist()
    readers = [reader.open() for reader in config.readers]
    answers: dict[str, str] = {}
    if config.texts.form is Form.DIALOGS:
        if config.dialogs is None:
            raise ConfigError("explicit.texts.form=dialogs needs prompts with answers; set prompts.columns.response")
        for key, answer in existing_responses(config.dialogs):
            answers.setdefault(key, answer)
    for prompt in prompts:
        key = str(prompt["prompt_id"])
        if _is_held_out(key, config) != config.held_out:
            drops.append(((key,), Reason.OTHER_PHASE, "kept unseen" if not config.held_out else "learnt"))
        elif config.texts.form is Form.DIALOGS:
            if key in answers:
                rows.append(_example(key, prompt["domain"], prompt["messages"], answers[key]))
            else:
                drops.append(((key,), Reason.NO_RESPONSE, "the data set has no answer to it"))
        else:
            made, dropped = _blocks(key, str(prompt["domain"]), _text(prompt), readers, config.texts.block_tokens)
            rows += made
            drops += dropped
    out.expect({*(str(row["prompt_id"]) for row in rows), *(str(key[0]) for key, *_ in drops)})
    for start in range(0, len(rows), PART_ROWS):
        fresh = [row for row in rows[start : start + PART_ROWS] if not out.is_done(str(row["prompt_id"]))]
        out.accept(Receipt(out.folder.write(SFT_EXAMPLE.build(fresh))))
        work.progress(min(start + PART_ROWS, len(rows)), len(rows))
    out.accept(Receipt(drops=out.folder.write_drops([drop for drop in drops if not out.is_done(str(drop[0][0]))])))


def _is_held_out(key: str, config: TextsStepConfig) -> bool:
    return int(hash_text(str(config.seed), "held out", key, length=12), 16) / 16**12 < config.texts.held_out_frac


def _text(prompt: dict[str, list[dict[str, str]]]) -> str:
    return "\n\n".join(message["content"] for message in prompt["messages"])


def _example(key: str, domain: object, messages: object, response: str) -> Example:
    return {
        "prompt_id": key,
        "domain": domain,
        "messages": messages,
        "response": response,
        "source": "data",
        "sample_index": 0,
        "rewards": [],
        "rule": "given",
    }


def _blocks(
    key: str, domain: str, text: str, readers: Sequence[Reader], block_tokens: int
) -> tuple[list[Example], list[Drop]]:
    """Blocks of one document, each a row; a block is named by the document and its place."""
    try:
        blocks = list(cut(text, readers, block_tokens))
    except SpanError as error:
        return [], [((key,), Reason.NOT_SPELLED, str(error))]
    return [_example(hash_text(key, str(n)), domain, [], block) for n, block in enumerate(blocks)], []


def cut(text: str, readers: Sequence[Reader], block_tokens: int) -> Iterator[str]:
    """The text in pieces of at most `block_tokens` tokens of each tokenizer, as they stand in the whole text; cut after
    white space where there is any in the last quarter of a piece.

    Raises:
        SpanError: a tokenizer cannot spell the text.
        FusionError: one character alone is too long.
    """
    import numpy as np

    data = text.encode()
    ends = [reader.spans(text).ends for reader in readers]
    at = 0
    while at < len(data):
        stop = len(data)
        for own in ends:
            last = int(np.searchsorted(own, at, side="right")) + block_tokens - 1
            stop = min(stop, int(own[last]) if last < len(own) else len(data))
        stop = _boundary(data, at, stop)
        if stop <= at:
            raise FusionError(f"block_tokens={block_tokens} is less than one character takes; set it higher")
        yield data[at:stop].decode()
        at = stop


def _boundary(data: bytes, start: int, stop: int) -> int:
    """The last good place to cut at or before `stop`: after white space, else between characters."""
    if stop == len(data):
        return stop
    for place in range(stop, stop - (stop - start) // 4, -1):
        if data[place - 1 : place].isspace():
            return place
    while stop > start and data[stop] & 0xC0 == 0x80:
        stop -= 1
    return stop
