"""The contract of an engine.

A `Generator` is configuration; `open` loads a model and yields an `Engine`. The engine is a loop: requests go in with
`submit`, `step` does a bounded amount of work and returns the requests that are finished, whole, with all their n
samples. Who calls `step` keeps calling it while `num_unfinished` is above zero. Requests and completions carry token
ids only in, text out: rendering is `fusion.chat`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fusion.step import Placement


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
    num_samples_by_domain: dict[str, int] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.num_samples_by_domain = self.num_samples_by_domain or {}


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and all its samples.

    `seeds[i]` belongs to sample index `sample_indices[i]`; a resumed request may ask for some indices only. `stop` are
    strings at which a response ends; they are not part of its text.
    """

    request_id: str
    prompt_token_ids: tuple[int, ...]
    sampling: Sampling
    sample_indices: tuple[int, ...]
    seeds: tuple[int, ...]
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    sample_index: int
    text: str
    num_tokens: int
    finish_reason: str  # stop | length
    logprob_sum: float | None


@dataclass(frozen=True, slots=True)
class Completion:
    """All samples of one request, or the reason why the request itself cannot be served (a fault of the row)."""

    request_id: str
    samples: tuple[Sample, ...]
    error: str | None = None


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
