"""What every runtime promises: the same suite against threads in this process and actors on a local Ray."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion.errors import ArtifactError, EngineError
from fusion.runtime import InProcess, Runtime
from fusion.step import Placement
from tests.workers import NumberWriter, Tasks, is_alive, sessions, written

PLACEMENT = Placement(cpus=2, in_flight=4, stall_s=60)


@pytest.fixture(params=["in_process", pytest.param("ray", marks=pytest.mark.slow)])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return InProcess() if request.param == "in_process" else request.getfixturevalue("ray_runtime")


def test_every_task_is_done_once(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"))
    dones = list(runtime.map(worker, Tasks(tuple(range(20)), tmp_path / "asked"), PLACEMENT, "numbers"))
    assert sorted(done.task_id for done in dones) == list(range(20))
    assert written(worker.folder) == set(range(20))


def test_receipts_name_the_parts_that_were_committed(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"))
    (done,) = runtime.map(worker, Tasks((7,), tmp_path / "asked"), PLACEMENT, "numbers")
    (part,) = done.receipts[worker.folder].parts
    assert (tmp_path / "out" / part.name).stat().st_size == part.bytes


def test_no_tasks_open_no_session(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"))
    assert list(runtime.map(worker, Tasks((), tmp_path / "asked"), PLACEMENT, "numbers")) == []
    assert sessions(worker.folder) == []


def test_an_exception_of_a_map_worker_is_named(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((3, "raise"),))
    with pytest.raises(EngineError, match="numbers: a worker raised ValueError: boom at 3"):
        list(runtime.map(worker, Tasks(tuple(range(9)), tmp_path / "asked"), PLACEMENT, "numbers"))


def test_a_session_that_does_not_open_is_named(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), open_fails="no such model")
    with pytest.raises((EngineError, ValueError), match="no such model"):
        list(runtime.map(worker, Tasks((1,), tmp_path / "asked"), PLACEMENT, "numbers"))


def test_sessions_end_with_the_map(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"))
    list(runtime.map(worker, Tasks((1, 2), tmp_path / "asked"), PLACEMENT, "numbers"))
    assert list((tmp_path / "notes").glob("*.closed"))


def test_leaving_a_map_early_ends_its_sessions(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), seconds=0.05)
    dones = runtime.map(worker, Tasks(tuple(range(1000)), tmp_path / "asked"), PLACEMENT, "numbers")
    next(dones)
    dones.close()  # type: ignore[attr-defined]
    done = len(written(worker.folder))
    time.sleep(0.2)
    assert len(written(worker.folder)) == done < 100


def test_every_item_goes_through_every_pool(runtime: Runtime, tmp_path: Path) -> None:
    first, second = NumberWriter(str(tmp_path / "a" / "out")), NumberWriter(str(tmp_path / "b" / "out"))
    dones = list(runtime.stream([(first, PLACEMENT), (second, PLACEMENT)], range(5), "scores"))
    assert sorted(done.task_id for done in dones) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert written(first.folder) == written(second.folder) == set(range(5))


def test_results_stream_back_while_the_feed_is_open(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"))
    first_is_back = threading.Event()

    def feed() -> Iterator[int]:
        yield 1
        assert first_is_back.wait(60), "the second item waits for the first result"
        yield 2

    dones = runtime.stream([(worker, PLACEMENT)], feed(), "scores")
    if isinstance(runtime, InProcess):  # one thread: the first result must come before the second item is asked for
        assert next(dones).task_id == 0
        first_is_back.set()
        assert [done.task_id for done in dones] == [1]
        return
    ids = []
    for done in dones:
        ids.append(done.task_id)
        first_is_back.set()
    assert ids == [0, 1]


def test_an_exception_of_a_stream_worker_is_named(runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((1, "raise"),))
    with pytest.raises(EngineError, match="scores: a worker raised ValueError: boom at 1"):
        list(runtime.stream([(worker, PLACEMENT)], range(3), "scores"))


def test_an_exception_of_the_feed_reaches_the_caller(runtime: Runtime, tmp_path: Path) -> None:
    def feed() -> Iterator[int]:
        yield 1
        raise ArtifactError("the step that writes the feed failed")

    with pytest.raises(ArtifactError, match="writes the feed failed"):
        list(runtime.stream([(NumberWriter(str(tmp_path / "out")), PLACEMENT)], feed(), "scores"))


def test_an_empty_feed_ends_the_stream(runtime: Runtime, tmp_path: Path) -> None:
    assert list(runtime.stream([(NumberWriter(str(tmp_path / "out")), PLACEMENT)], [], "scores")) == []


def test_maps_and_a_stream_run_at_the_same_time(runtime: Runtime, tmp_path: Path) -> None:
    counts: dict[str, int] = {}

    def run_map(name: str) -> None:
        worker = NumberWriter(str(tmp_path / name / "out"), seconds=0.02)
        tasks = Tasks(tuple(range(20)), tmp_path / "asked")
        counts[name] = len(list(runtime.map(worker, tasks, PLACEMENT, name)))

    def run_stream() -> None:
        worker = NumberWriter(str(tmp_path / "stream" / "out"), seconds=0.02)
        counts["stream"] = len(list(runtime.stream([(worker, PLACEMENT)], range(20), "stream")))

    threads = [threading.Thread(target=run_map, args=(name,)) for name in ("one", "two")]
    threads.append(threading.Thread(target=run_stream))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {"one": 20, "two": 20, "stream": 20}


@pytest.mark.slow
def test_nothing_of_a_runtime_is_left_behind(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"))
    list(ray_runtime.map(worker, Tasks((1, 2), tmp_path / "asked"), PLACEMENT, "numbers"))
    list(ray_runtime.stream([(worker, PLACEMENT)], range(3), "scores"))
    assert [pid for pid, _ in sessions(worker.folder) if is_alive(pid)] == []
