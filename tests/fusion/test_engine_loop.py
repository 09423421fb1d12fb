"""One engine asked by many threads; what happens when it breaks. The engine here echoes, and breaks on demand."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from fusion.engine_loop import EngineLoop
from fusion.errors import EngineError
from fusion.generators.base import Completion, Engine, Generator, Request, Sample, Sampling
from fusion.step import Placement

BREAKS = 666


class Echo:
    """Finishes one request a step, the latest first; a prompt of BREAKS kills it."""

    max_model_len = 100

    def __init__(self) -> None:
        self.waiting: list[Request] = []
        self.most = 0
        self.threads: set[int] = set()

    @property
    def num_unfinished(self) -> int:
        return len(self.waiting)

    def submit(self, request: Request) -> None:
        self.threads.add(threading.get_ident())
        self.waiting.append(request)
        self.most = max(self.most, len(self.waiting))

    def step(self) -> list[Completion]:
        self.threads.add(threading.get_ident())
        if not self.waiting:
            return []
        request = self.waiting.pop()
        if BREAKS in request.prompt_token_ids:
            raise RuntimeError("illegal memory access")
        return [Completion(request.request_id, (Sample(0, str(request.prompt_token_ids[0]), 1, "stop", None),))]


@dataclass(kw_only=True)
class EchoGenerator(Generator):
    can_open: bool = True

    @contextlib.contextmanager
    def open(self, model: Path, placement: Placement) -> Iterator[Engine]:
        if not self.can_open:
            raise EngineError("no memory")
        self.engine = Echo()
        yield self.engine


def request(number: int) -> Request:
    return Request(str(number), (number,), Sampling(), (0,), (0,))


def opened(generator: EchoGenerator) -> EngineLoop:
    return EngineLoop(generator, Path(), Placement())


def test_every_caller_gets_its_own_answers_in_order() -> None:
    generator = EchoGenerator()
    with opened(generator) as loop, ThreadPoolExecutor(8) as pool:
        batches = [[request(10 * caller + i) for i in range(10)] for caller in range(20)]
        found = list(pool.map(loop.generate, batches))
    assert [[one.samples[0].text for one in batch] for batch in found] == [
        [str(10 * caller + i) for i in range(10)] for caller in range(20)
    ]
    assert len(generator.engine.threads) == 1


def test_a_broken_engine_is_told_to_all_who_wait_and_all_who_come() -> None:
    with opened(EchoGenerator()) as loop:
        with pytest.raises(EngineError, match="illegal memory access"):
            loop.generate([request(1), request(BREAKS), request(2)])
        with pytest.raises(EngineError, match="broken"):
            loop.generate([request(3)])


def test_an_engine_that_does_not_open_says_why() -> None:
    with pytest.raises(EngineError, match="no memory"), opened(EchoGenerator(can_open=False)):
        pass


def test_closing_lets_nobody_wait_for_ever() -> None:
    with opened(EchoGenerator()) as loop:
        pass
    with pytest.raises(EngineError, match="closed"):
        loop.generate([request(1)])
