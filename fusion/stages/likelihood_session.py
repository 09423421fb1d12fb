"""A worker that says how likely a model finds given continuations."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.artifact import PartFolder, Receipt, reasons_of
from fusion.chat import Renderer
from fusion.continuation import Pair, pair_ids, within
from fusion.loading import LOADING
from fusion.memory import give_back
from fusion.modelfiles import prepare
from fusion.models import ModelRef, model_facts
from fusion.prompts.continuations import Context, pairs_of
from fusion.schema import PROMPT, RESPONSE, Reason
from fusion.step import Placement
from fusion.train.config import Dtype
from fusion.train.forward import TOKEN_BUDGET, open_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from fusion.rewards.logprobs import Read


@dataclass(frozen=True, slots=True)
class Compared:
    """Items of one part of the prompt table whose continuations are to be compared, by prompt_id."""

    prompts: PartFolder
    part: str
    wanted: tuple[str, ...]
    out: PartFolder
    source: str


@dataclass(frozen=True)
class LikelihoodWorker:
    """Opens a model, prepared in `cache` on the machine where the worker runs."""

    model: ModelRef
    cache: str
    dtype: Dtype

    @contextmanager
    def open(self, placement: Placement) -> Iterator[LikelihoodSession]:
        folder, trusts = prepare(self.model, Path(self.cache)), self.model.trust_remote_code
        with LOADING:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusts)
        with open_model(folder, self.dtype, placement, trusts) as model:
            give_back()
            yield LikelihoodSession(model, PairReader(tokenizer, self.model, model_facts(folder).max_model_len))


@dataclass(frozen=True, slots=True)
class Unread:
    """Why a model cannot read an item."""

    reason: Reason
    detail: str


class PairReader:
    """Contexts and continuations as token ids.

    Args:
        model: says how a context that is a conversation is rendered.
        longest: tokens that the model reads.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: ModelRef, longest: int) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._longest = longest

    def pairs(self, reference: str) -> list[Pair] | Unread:
        """The ids of what stands before each continuation, and its own.

        Raises:
            ConfigError: a context is a conversation, and the model has no template that takes it.
        """
        read = []
        for context, continuation in pairs_of(reference):
            whole = pair_ids(self._tokenizer, self._text(context), continuation)
            if not whole[1]:
                return Unread(Reason.EMPTY_RESPONSE, f"continuation {continuation!r} has no tokens of its own")
            if (pair := within(whole, self._longest)) is None:
                limit = f"the model's context is {self._longest}"
                return Unread(Reason.OVER_LENGTH, f"a continuation has {len(whole[1])} tokens, and {limit}")
            read.append(pair)
        return read

    def _text(self, context: Context) -> str:
        return context if isinstance(context, str) else self._renderer.prompt_text(context)

    @cached_property
    def _renderer(self) -> Renderer:
        return Renderer(self._tokenizer, self._model.chat, self._model.uri)


class LikelihoodSession:
    """An open model; one forward pass at a time."""

    def __init__(self, model: PreTrainedModel, reader: PairReader) -> None:
        self._model = model
        self._reader = reader
        self._turn = threading.Lock()
        self._references = lru_cache(4)(_references)

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Read and commit the items of a `Compared`; one with a number that is none is dropped."""
        assert isinstance(task, Compared)
        began = time.monotonic()
        with self._turn:
            references = self._references(task.prompts.path, task.part)
            read = {prompt: self._reader.pairs(references[prompt]) for prompt in task.wanted}
            items = {prompt: pairs for prompt, pairs in read.items() if not isinstance(pairs, Unread)}
            said = self._said(items)
        lost = {prompt: one for prompt, one in read.items() if isinstance(one, Unread)}
        for prompt, found in said.items():
            if not all(math.isfinite(one.logprob_sum) for one in found):
                lost[prompt] = Unread(Reason.NOT_FINITE, "a log-probability is not a number")
        drops = [((prompt, task.source, 0), one.reason, one.detail) for prompt, one in sorted(lost.items())]
        rows = [_row(task.source, prompt, items[prompt], said[prompt]) for prompt in sorted(said.keys() - lost.keys())]
        receipt = Receipt(
            task.out.write(RESPONSE.build(rows)),
            task.out.write_drops(drops),
            num_tokens=sum(len(before) + len(after) for pairs in items.values() for before, after in pairs),
            num_requests=len(task.wanted),
            seconds=time.monotonic() - began,
            reasons=reasons_of(drops),
        )
        return {task.out.path: receipt}

    def _said(self, items: Mapping[str, Sequence[Pair]]) -> dict[str, list[Read]]:
        """What the model says of all continuations of each item."""
        from fusion.rewards.logprobs import read_responses

        pairs = [pair for of_item in items.values() for pair in of_item]
        before, after = [before for before, _ in pairs], [after for _, after in pairs]
        found = iter(read_responses(self._model, before, after, TOKEN_BUDGET))
        return {prompt: list(islice(found, len(of_item))) for prompt, of_item in items.items()}


def _row(source: str, prompt: str, pairs: Sequence[Pair], said: Sequence[Read]) -> dict[str, object]:
    return {
        "prompt_id": prompt,
        "source": source,
        "sample_index": 0,
        "text": json.dumps([[one.logprob_sum, one.is_greedy] for one in said]),
        "num_tokens": sum(len(continuation) for _, continuation in pairs),
        "finish_reason": "stop",
        "seed": None,
        "logprob_sum": None,
    }


def _references(path: str, part: str) -> dict[str, str]:
    """prompt_id -> reference of one part."""
    rows = PartFolder(path, PROMPT).read(part, ["prompt_id", "reference"]).to_pylist()
    return {row["prompt_id"]: row["reference"] for row in rows}
