"""Responses: a model answers prompts, n times each.

Steps of one gang share model, chat and generator, and so one engine. A task is a few prompts of one part, named by key;
prompts stay in the store, the worker reads them there, writes the part of its answers, and reports a receipt.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fusion.artifact import PartFolder, Receipt, reasons_of
from fusion.chat import Renderer
from fusion.engine_loop import EngineLoop
from fusion.errors import ConfigError
from fusion.generators.base import Completion, Generator, Request, Sampling
from fusion.memory import give_back
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.models import ChatConfig, ModelRef
from fusion.runtime import Runtime
from fusion.schema import PROMPT, RESPONSE, Reason, sample_seed
from fusion.stages.failure_budget import demand_frac
from fusion.stages.generate_tasks import Asked, GenerateTasks
from fusion.step import Placement
from fusion.transfer import on_disk
from fusion.work import Work

Unit = tuple[str, str, int]
"""prompt_id, source, sample_index: what is accounted for."""

Dropped = tuple[Unit, Reason, str]


@dataclass(kw_only=True)
class GenerateConfig:
    """One model's answers to one table of prompts."""

    source: str
    """Its name in the `source` column."""
    model: ModelRef | None
    """None: the checkpoint that is the step's input `model`."""
    chat: ChatConfig
    sampling: Sampling
    generator: Generator
    run_seed: int = 42
    max_failed_frac: float = field(default=0.05, metadata={"identity": False})
    """Share of answers that may fail (the endpoint refuses, the template does not take the messages); above it the step
    fails."""
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on the machine that runs the engine."""

    def __post_init__(self) -> None:
        demand_frac(self.max_failed_frac)


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Answer every prompt that has no answer yet; all works share one engine.

    Raises:
        ConfigError: the model is not pinned, or has no usable chat template.
        EngineError: the engines died more often than the placement allows.
        StepFailed: too many answers failed.
    """
    config, placement = _shared(works), works[0].step.placement
    model = works[0].model_in("model").place if config.model is None else ""
    worker = GenerateWorker(config.model, model, config.chat, config.generator, config.cache)
    todo = GenerateTasks(works, placement)
    for done in runtime.map(worker, todo, placement, f"generate {config.source}"):
        for path, receipt in done.receipts.items():
            todo.accept(path, receipt)
        if works[0].stopped():
            return
    todo.check_failures()


def _shared(works: Sequence[Work]) -> GenerateConfig:
    configs = [work.step.config for work in works]
    first = configs[0]
    assert isinstance(first, GenerateConfig)
    for config in configs:
        assert isinstance(config, GenerateConfig)
        assert (config.model, config.chat, config.generator) == (first.model, first.chat, first.generator), "gang"
    if first.model is not None and not first.model.revision:
        raise ConfigError(f"sources.{first.source}.model {first.model.uri} has no revision; resolve it before planning")
    return first


@dataclass(frozen=True)
class GenerateWorker:
    """How to open an engine: travels to wherever it is to run.

    `model` is prepared there, in `cache`; `folder` is a checkpoint's path or URL, and then `model` is None.
    """

    model: ModelRef | None
    folder: str
    chat: ChatConfig
    generator: Generator
    cache: str

    @contextlib.contextmanager
    def open(self, placement: Placement) -> Iterator[GenerateSession]:
        folder = on_disk(self.folder) if self.model is None else prepare(self.model, Path(self.cache))
        trusts = self.model is not None and self.model.trust_remote_code
        renderer = Renderer.load(folder, self.chat, trusts)
        with EngineLoop(self.generator, folder, placement) as engine:
            give_back()
            yield GenerateSession(renderer, engine)


class GenerateSession:
    """An open engine with its renderer; `process` may be called from many threads."""

    def __init__(self, renderer: Renderer, engine: EngineLoop) -> None:
        self._renderer = renderer
        self._engine = engine
        self._numbers = itertools.count()
        self._rendering = threading.Lock()  # fast tokenizers raise "Already borrowed" when threads share one
        self._read = functools.lru_cache(maxsize=8)(_prompts)

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Answer the prompts of an `Asked`, commit rows and drops.

        Raises:
            EngineError: the engine is broken; the process must end.
        """
        assert isinstance(task, Asked)
        started = time.monotonic()
        prompts = self._read(task.prompts.path, task.part)
        drops: list[Dropped] = []
        requests: list[tuple[str, Request]] = []
        for prompt, indices in task.samples:
            messages, domain = prompts[prompt]
            try:
                requests.append((prompt, self._request(task, prompt, indices, messages, domain)))
            except ConfigError as error:  # these messages do not fit the template, e.g. two user turns in a row
                drops += [((prompt, task.source, i), Reason.REQUEST_FAILED, str(error)) for i in indices]
        completions = self._engine.generate([request for _, request in requests])
        rows: list[dict[str, object]] = []
        for (prompt, request), completion in zip(requests, completions, strict=True):
            rows += _rows(task, prompt, request, completion)
            drops += _drops(task, prompt, request, completion)
        receipt = Receipt(
            task.out.write(RESPONSE.build(sorted(rows, key=_key))),
            task.out.write_drops(sorted(drops)),
            num_tokens=sum(sample.num_tokens for completion in completions for sample in completion.samples),
            num_requests=sum(len(request.sample_indices) for _, request in requests),
            seconds=time.monotonic() - started,
            reasons=reasons_of(drops),
        )
        return {task.out.path: receipt}

    def _request(
        self, task: Asked, prompt: str, indices: tuple[int, ...], messages: list[dict[str, str]], domain: str
    ) -> Request:
        with self._rendering:
            ids = self._renderer.prompt_ids(messages, domain)
        return Request(
            request_id=str(next(self._numbers)),
            prompt_token_ids=tuple(ids),
            sampling=task.sampling.of(domain),
            sample_indices=indices,
            seeds=tuple(sample_seed(task.run_seed, prompt, task.source, i) for i in indices),
            stop=self._renderer.stop_strings,
            stop_token_ids=self._renderer.end_of_turn_ids,
        )


def _prompts(path: str, part: str) -> dict[str, tuple[list[dict[str, str]], str]]:
    """prompt_id -> messages, domain of one part."""
    rows = PartFolder(path, PROMPT).read(part, ["prompt_id", "messages", "domain"]).to_pylist()
    return {row["prompt_id"]: (row["messages"], row["domain"]) for row in rows}


def _rows(task: Asked, prompt: str, request: Request, completion: Completion) -> Iterable[dict[str, object]]:
    seeds = dict(zip(request.sample_indices, request.seeds, strict=True))
    for sample in completion.samples:
        yield {
            "prompt_id": prompt,
            "source": task.source,
            "sample_index": sample.sample_index,
            "text": sample.text,
            "num_tokens": sample.num_tokens,
            "finish_reason": sample.finish_reason,
            "seed": seeds[sample.sample_index],
            "logprob_sum": sample.logprob_sum,
        }


def _drops(task: Asked, prompt: str, request: Request, completion: Completion) -> Iterable[Dropped]:
    if completion.error is None:
        return
    reason = Reason.PROMPT_TOO_LONG if completion.is_too_long else Reason.REQUEST_FAILED
    for index in request.sample_indices:
        yield (prompt, task.source, index), reason, completion.error


def _key(row: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(row[column] for column in RESPONSE.key)
