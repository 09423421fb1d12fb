"""A model behind an OpenAI-compatible server, asked over HTTP with token ids: `POST /completions`.

Prompts are rendered here like everybody's, so the server must take token ids (vLLM, SGLang, llama.cpp and OpenAI's own
completions do); a service that takes messages only renders by a template of its own and cannot keep this contract. The
source's model folder gives tokenizer, template and context length; its weights are not read.

Each sample is a request with its own seed, and the server's count of completion tokens is that sample's. With
`one_request` the samples of a prompt are one request of n: the prompt is paid for once, but there is one count for all
of them, so they are counted by their log-probabilities, and one seed, so a sample cannot be drawn again alone.

Whether equal seeds give equal answers is the server's affair: vLLM's depend on the batch in bfloat16, and a hosted
service may ignore the seed.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion.endpoint import Endpoint, Reply
from fusion.endpoint_config import EndpointConfig
from fusion.endpoint_fault import RequestFailed
from fusion.errors import ConfigError, EngineError
from fusion.generators.base import Completion, Engine, Generator, Request, Sample, Sampling, too_long
from fusion.models import model_facts
from fusion.spending import Budget, BudgetSpent, Usage
from fusion.step import Placement

TICK_S = 0.05
FINISHED = ("stop", "length")


@dataclass(kw_only=True)
class OpenaiEndpoint(Generator):
    """An endpoint. Example: `generator=openai_endpoint generator.endpoint.url=http://10.0.0.5:8000/v1 ...`."""

    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    max_model_len: int = 0
    """Context in tokens, prompt and answer together; 0: the server's where it tells (vLLM), else the model's own."""
    logprobs: bool = False
    """Fill `logprob_sum`. Of temperature 1 where the server reports them so (vLLM does)."""
    one_request: bool = False
    """All samples of a prompt in one request; needs `logprobs`, and a server that knows `n`."""
    extensions: bool = True
    """The server knows vLLM's additions to the API: top_k, min_p, repetition_penalty, stop_token_ids. False: sampling
    that needs them is refused, and an answer ends where the server ends it."""
    budget: Budget = field(default_factory=Budget, metadata={"identity": False})
    """When it is spent the step stops; what is committed is kept, and a larger budget goes on from there."""

    def __post_init__(self) -> None:
        if self.max_model_len < 0:
            raise ConfigError(f"generator.max_model_len must be at least 0, got {self.max_model_len}")
        if self.one_request and not self.logprobs:
            raise ConfigError(
                "generator.one_request=true needs generator.logprobs=true: an endpoint counts the tokens of all "
                "samples together, and only their log-probabilities tell one's from another's"
            )

    @contextlib.contextmanager
    def open(self, model: Path, placement: Placement) -> Iterator[Engine]:
        """Raises:
        EngineError: the endpoint does not answer.
        ConfigError: the API key is not where the config says.
        """
        with Endpoint(self.endpoint, self.budget) as endpoint:
            lengths = (self.max_model_len, endpoint.max_model_len() or 0, model_facts(model).max_model_len)
            engine = EndpointEngine(self, endpoint, next(length for length in lengths if length))
            try:
                yield engine
            finally:
                engine.close()


Job = tuple[Request, tuple[int, ...]]
"""A request and the places of those of its samples that are asked for together."""

Result = tuple[Job, Sequence[Sample] | str | Exception]
"""A string: why these samples failed for good."""


class EndpointEngine:
    """An open endpoint; used by one thread, with `endpoint.concurrency` threads that wait for replies."""

    def __init__(self, config: OpenaiEndpoint, endpoint: Endpoint, max_model_len: int) -> None:
        self.max_model_len = max_model_len
        self._config = config
        self._endpoint = endpoint
        self._threads = ThreadPoolExecutor(config.endpoint.concurrency, "endpoint")
        self._arrived: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._open: dict[str, tuple[Request, dict[int, Sample | str]]] = {}
        self._refused: list[Completion] = []

    @property
    def num_unfinished(self) -> int:
        return len(self._open) + len(self._refused)

    def submit(self, request: Request) -> None:
        if request.num_alternatives:
            raise ConfigError(
                "generator=openai_endpoint tells no alternatives of tokens; a judge behind an endpoint is reward judge"
            )
        if refused := too_long(request, self.max_model_len):
            self._refused.append(refused)
            return
        self._open[request.request_id] = (request, {})
        places = tuple(range(len(request.sample_indices)))
        for together in [places] if self._config.one_request else [(place,) for place in places]:
            self._threads.submit(self._work, (request, together))

    def step(self) -> list[Completion]:
        """Completions whose last reply came; waits a moment for one."""
        finished, self._refused = self._refused, []
        with contextlib.suppress(queue.Empty):
            self._settle(self._arrived.get(timeout=0 if finished or not self._open else TICK_S))
            while True:
                self._settle(self._arrived.get_nowait())
        for request_id, (request, results) in list(self._open.items()):
            if len(results) == len(request.sample_indices):
                finished.append(_completion(request, results))
                del self._open[request_id]
        return finished

    def close(self) -> None:
        """Ask for nothing more; replies that are still to come are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    # -- private -------------------------------------------------------------------------------------------------

    def _settle(self, result: Result) -> None:
        (request, places), found = result
        if isinstance(found, BudgetSpent):
            raise EngineError(f"{found}. What is committed is kept; raise it in generator.budget and run again")
        if isinstance(found, Exception):
            raise found
        for number, place in enumerate(places):
            self._open[request.request_id][1][place] = found if isinstance(found, str) else found[number]

    def _work(self, job: Job) -> None:
        """In a thread of the pool; every job puts one result."""
        try:
            self._arrived.put((job, self._samples(job)))
        except RequestFailed as error:
            self._arrived.put((job, str(error)))
        except Exception as error:
            self._arrived.put((job, error))

    def _samples(self, job: Job) -> list[Sample] | str:
        request, places = job
        sampling, length = request.sampling, len(request.prompt_token_ids)
        limit = min(sampling.max_new_tokens, self.max_model_len - length)
        body: dict[str, object] = {
            "prompt": list(request.prompt_token_ids),
            "n": len(places),
            "max_tokens": limit,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.temperature:
            body["seed"] = request.seeds[places[0]]
        if request.stop:
            body["stop"] = list(request.stop)
        if self._config.logprobs:
            body["logprobs"] = 0
        body |= self._additions(sampling, request.stop_token_ids)
        reply = self._endpoint.complete("/completions", body, Usage(1, length, limit * len(places)))
        return self._read(reply, job)

    def _additions(self, sampling: Sampling, stop_token_ids: Sequence[int]) -> dict[str, object]:
        """What only vLLM and its like understand; sent whole, because they take what is missing from the model."""
        if self._config.extensions:
            return {
                "top_k": sampling.top_k or -1,
                "min_p": 0.0,
                "repetition_penalty": sampling.repetition_penalty,
                "stop_token_ids": list(stop_token_ids),
            }
        if sampling.top_k or sampling.repetition_penalty != 1.0:
            raise ConfigError(
                "sampling.top_k and sampling.repetition_penalty are no part of the OpenAI API; leave them at 0 and 1, "
                "or set generator.extensions=true for a server that knows them"
            )
        return {}

    def _read(self, reply: Reply, job: Job) -> list[Sample] | str:
        request, places = job
        if len(reply.choices) != len(places):
            raise ConfigError(
                f"the endpoint gave {len(reply.choices)} of {len(places)} samples in one request; "
                "set generator.one_request=false"
            )
        length = len(request.prompt_token_ids)
        if reply.usage is not None and reply.usage.prompt_tokens not in (0, length):
            raise ConfigError(
                f"the endpoint counted {reply.usage.prompt_tokens} tokens in a prompt of {length}: it does not take "
                "token ids as they are; serve the model with vLLM or another server that does"
            )
        samples = []
        choices = sorted(reply.choices, key=lambda choice: int(choice.get("index", 0)))
        for place, choice in zip(places, choices, strict=True):
            if choice.get("finish_reason") not in FINISHED:
                return f"the endpoint ended the answer: {choice.get('finish_reason')}"
            text = choice.get("text")
            if not isinstance(text, str):
                raise ConfigError("the endpoint's replies hold no text; endpoint.url must lead to /completions")
            num_tokens, logprob_sum = self._counted(choice, reply.usage)
            index = request.sample_indices[place]
            samples.append(Sample(index, text, num_tokens, choice["finish_reason"], logprob_sum))
        return samples

    def _counted(self, choice: dict[str, Any], usage: Usage | None) -> tuple[int, float | None]:
        """Number of tokens of an answer, and the sum of their log-probabilities."""
        if self._config.logprobs:
            values = (choice.get("logprobs") or {}).get("token_logprobs")
            if not values:
                raise ConfigError("the endpoint reports no log-probabilities; set generator.logprobs=false")
            return len(values), float(sum(values))
        if usage is None:
            raise ConfigError("the endpoint reports no usage, by which tokens are counted; set generator.logprobs=true")
        return usage.completion_tokens, None


def _completion(request: Request, results: dict[int, Sample | str]) -> Completion:
    ordered = [results[place] for place in sorted(results)]
    errors = [result for result in ordered if isinstance(result, str)]
    if errors:
        return Completion(request.request_id, (), errors[0])
    return Completion(request.request_id, tuple(sample for sample in ordered if isinstance(sample, Sample)))
