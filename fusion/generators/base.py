"""The contract of an engine.

A `Generator` is configuration; `open` loads a model and yields an `Engine`. The engine is a loop: requests go in with
`submit`, `step` does a bounded amount of work and returns the requests that are finished, whole, with all their n
samples. Who calls `step` keeps calling it while `num_unfinished` is above zero. Requests and completions carry token
ids only in, text out: rendering is `fusion.chat`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from fusion.errors import ConfigError
from fusion.step import Placement

TAIL_TOKENS = 16
"""Tokens at the end of an answer whose alternatives are told: a verdict and what is around it."""
Tail = tuple[tuple[str, Mapping[str, float]], ...]
"""Last tokens of an answer in order, each with the log-probabilities (nats, at temperature 1) of those that might have
stood there, itself among them."""


@dataclass(kw_only=True)
class Sampling:
    """How a model is sampled; all of it bears identity."""

    temperature: float = 0.8
    """0 is greedy."""
    top_p: float = 0.95
    top_k: int = 0
    """0: no limit."""
    repetition_penalty: float = 1.0
    max_new_tokens: int = 512
    num_samples: int = 5
    """Samples per prompt (METHODS: 5 for instructions)."""
    num_samples_by_domain: dict[str, int] = field(default_factory=dict)
    """Domains with a number of their own (FuseChat-3.0: 8 for code); 0: prompts of this domain are not asked."""
    temperature_by_domain: dict[str, float] = field(default_factory=dict, metadata={"absent_when": {}})
    """Domains with a temperature of their own (MT-Bench: 0.7 for writing)."""

    def __post_init__(self) -> None:
        limits = {
            "temperature": (self.temperature >= 0, "at least 0 (0 is greedy)"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "top_k": (self.top_k >= 0, "at least 0 (0 is no limit)"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0 (1 is none)"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "num_samples": (self.num_samples >= 1, "at least 1"),
            "temperature_by_domain": (all(t >= 0 for t in self.temperature_by_domain.values()), "at least 0 each"),
            "num_samples_by_domain": (all(n >= 0 for n in self.num_samples_by_domain.values()), "at least 0 each"),
        }
        for name, (is_ok, wanted) in limits.items():
            if not is_ok:
                raise ConfigError(f"sampling.{name} must be {wanted}, got {getattr(self, name)}")
        # A number that is the general one says nothing, and shall not be identity.
        own = self.num_samples_by_domain
        self.num_samples_by_domain = {domain: n for domain, n in own.items() if n != self.num_samples}

    def num_samples_of(self, domain: str) -> int:
        return self.num_samples_by_domain.get(domain, self.num_samples)

    def of(self, domain: str) -> Sampling:
        """As prompts of `domain` are sampled."""
        if domain not in self.temperature_by_domain:
            return self
        return replace(self, temperature=self.temperature_by_domain[domain])


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and all its samples.

    `seeds[i]` belongs to sample index `sample_indices[i]`; a resumed request may ask for some indices only. A response
    ends at a string of `stop` or a token of `stop_token_ids`; neither is part of its text.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    sampling: Sampling
    sample_indices: tuple[int, ...]
    seeds: tuple[int, ...]
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    num_alternatives: int = 0
    """Most likely tokens that are told at each of the answer's last places; 0: none are, and `tail` is empty."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer."""

    sample_index: int
    text: str
    num_tokens: int  # of the engine's tokens, the one it stopped at included
    finish_reason: str  # stop | length
    logprob_sum: float | None  # nats, of all num_tokens at temperature 1; None: not reported
    tail: Tail = ()  # of requests with num_alternatives; the token it stopped at may be among them


@dataclass(frozen=True, slots=True)
class Completion:
    """All samples of one request, or the reason why the request itself cannot be served (a fault of the row).

    `is_too_long` says that the reason is a prompt that leaves no room for an answer.
    """

    request_id: str
    samples: tuple[Sample, ...]
    error: str | None = None
    is_too_long: bool = False


def too_long(request: Request, max_model_len: int) -> Completion | None:
    """The answer to a prompt that leaves no room for one token, or None."""
    length = len(request.prompt_token_ids)
    if length < max_model_len:
        return None
    message = f"the prompt has {length} tokens, and the model's context is {max_model_len}"
    return Completion(request.request_id, (), message, is_too_long=True)


class Engine(Protocol):
    """A loaded model.

    Raises (from `submit` and `step`):
        EngineError: the engine is broken; the process that holds it must end.
    """

    max_model_len: int

    def submit(self, request: Request) -> None: ...

    def step(self) -> list[Completion]: ...

    @property
    def num_unfinished(self) -> int: ...


@dataclass(kw_only=True)
class Generator(ABC):
    """Base of all generators. Fields of subclasses bear identity (dtype, max_model_len, ...): they change results."""

    @abstractmethod
    def open(self, model: Path, placement: Placement) -> AbstractContextManager[Engine]:
        """Load the model folder `model`; heavy imports happen here. One engine serves requests of any sampling."""
