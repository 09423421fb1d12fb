"""What happens to a stream when its actors die or stall, or its reader leaves."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion.errors import EngineError
from fusion.runtime import Runtime
from fusion.step import Placement
from tests.workers import NumberWriter, is_alive, sessions, written

pytestmark = pytest.mark.slow


def test_kill_9_of_a_reward_actor_loses_no_item(
    ray_runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = NumberWriter(str(tmp_path / "out"), seconds=0.2)
    ids = []
    with caplog.at_level(logging.WARNING):
        for done in ray_runtime.stream([(worker, Placement())], range(12), "scores"):
            ids.append(done.task_id)
            if len(ids) == 2:
                os.kill(sessions(worker.folder)[0][0], signal.SIGKILL)
    assert sorted(ids) == list(range(12))
    assert written(worker.folder) == set(range(12))
    assert "scores: a session died; pid" in caplog.text


def test_an_engine_that_breaks_in_a_stream_is_replaced(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((2, "engine"),))
    dones = list(ray_runtime.stream([(worker, Placement())], range(5), "scores"))
    assert sorted(done.task_id for done in dones) == list(range(5))
    assert len({pid for pid, _ in sessions(worker.folder)}) == 2


def test_too_many_deaths_end_the_stream(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((2, "exit"), (3, "exit"), (4, "exit")))
    with pytest.raises(EngineError, match=r"2 sessions died, more than placement.max_restarts \(1\)"):
        list(ray_runtime.stream([(worker, Placement(max_restarts=1))], range(6), "scores"))


def test_silence_of_the_workers_ends_the_stream(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((2, "stall"),))
    with pytest.raises(EngineError, match="nothing came back for 4 s"):
        list(ray_runtime.stream([(worker, Placement(stall_s=4))], range(4), "scores"))
    assert [pid for pid, _ in sessions(worker.folder) if is_alive(pid)] == []


def test_a_pool_that_is_done_waits_for_no_node(
    ray_runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ray Data lets a pool go when its last item left it; the next pool's silence is then a stall as before."""
    quick = NumberWriter(str(tmp_path / "quick" / "out"))
    slow = NumberWriter(str(tmp_path / "slow" / "out"), seconds=3.0, mood=((6, "stall"),))
    with pytest.raises(EngineError, match="nothing came back for 8 s"), caplog.at_level(logging.WARNING):
        list(ray_runtime.stream([(quick, Placement(stall_s=8)), (slow, Placement(stall_s=8))], range(7), "scores"))
    assert written(slow.folder) == set(range(6))
    assert "wait for a node" not in caplog.text


def test_silence_of_the_feed_is_no_stall(ray_runtime: Runtime, tmp_path: Path) -> None:
    def feed() -> Iterator[int]:
        yield 1
        time.sleep(10)
        yield 2

    worker = NumberWriter(str(tmp_path / "out"))
    assert len(list(ray_runtime.stream([(worker, Placement(stall_s=8))], feed(), "scores"))) == 2


def test_leaving_a_stream_early_ends_its_actors(ray_runtime: Runtime, tmp_path: Path) -> None:
    def feed() -> Iterator[int]:
        yield from range(4)
        time.sleep(60)

    worker = NumberWriter(str(tmp_path / "out"))
    dones = ray_runtime.stream([(worker, Placement(replicas=2))], feed(), "scores")
    next(dones)
    started = time.monotonic()
    dones.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 20
    assert [pid for pid, _ in sessions(worker.folder) if is_alive(pid)] == []


def test_a_reward_that_does_not_open_is_named(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), open_fails="no such reward model")
    with pytest.raises(EngineError, match="scores: a worker raised ValueError: no such reward model"):
        list(ray_runtime.stream([(worker, Placement())], range(3), "scores"))
