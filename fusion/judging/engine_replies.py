"""A judge that runs here, in any engine behind the contract of generators."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from fusion.chat import Renderer
from fusion.endpoint_fault import RequestFailed
from fusion.engine_loop import EngineLoop
from fusion.generators.base import Request, Sampling
from fusion.judging.judge_model import TOP_LOGPROBS, Turns
from fusion.judging.verdict import Judgement
from fusion.schema import hash_text

SEED_BITS = 32


@dataclass(frozen=True, kw_only=True)
class EngineReplies:
    """See `fusion.judging.judge_model.Replies`. A repetition's seed comes from its words and number: the same in every
    run."""

    engine: EngineLoop
    renderer: Renderer
    identity: tuple[str, ...]
    temperature: float
    max_new_tokens: int
    logprobs: bool
    numbers: Iterator[int] = field(default_factory=itertools.count)
    """Names of requests, unique in this engine."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Tokenizers are not made for several threads."""

    def request(self, messages: Turns) -> dict[str, object]:
        asked: dict[str, object] = {"messages": list(messages), "max_new_tokens": self.max_new_tokens}
        return asked | {"temperature": self.temperature, "alternatives": TOP_LOGPROBS if self.logprobs else 0}

    def reply(self, messages: Turns, repetition: int) -> Judgement:
        with self.lock:
            prompt = tuple(self.renderer.prompt_ids(messages))
        said = "\n".join(message["content"] for message in messages)
        request = Request(
            request_id=f"judge-{next(self.numbers)}",
            prompt_token_ids=prompt,
            sampling=Sampling(
                temperature=self.temperature, top_p=1.0, max_new_tokens=self.max_new_tokens, num_samples=1
            ),
            sample_indices=(0,),
            seeds=(int(hash_text(said, str(repetition)), 16) % 2**SEED_BITS,),
            stop=self.renderer.stop_strings,
            stop_token_ids=self.renderer.end_of_turn_ids,
            num_alternatives=TOP_LOGPROBS if self.logprobs else 0,
        )
        (completion,) = self.engine.generate([request])
        if completion.error is not None:
            raise RequestFailed(completion.error)
        (sample,) = completion.samples
        return Judgement(sample.text, sample.finish_reason, sample.tail)
