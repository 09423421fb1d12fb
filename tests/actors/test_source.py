"""What happens to a map when its actors die, stall, or are many."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import ray
from ray.util.placement_group import placement_group_table

from fusion.errors import EngineError
from fusion.runtime import Runtime
from fusion.step import Placement
from tests.workers import NumberWriter, Tasks, is_alive, sessions, written

pytestmark = pytest.mark.slow


def test_kill_9_of_a_source_actor_loses_no_task(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), seconds=0.2)
    tasks = Tasks(tuple(range(12)), tmp_path / "asked", parts=worker.folder)

    def kill_one() -> None:
        while not written(worker.folder):
            time.sleep(0.02)
        os.kill(sessions(worker.folder)[0][0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    dones = list(ray_runtime.map(worker, tasks, Placement(in_flight=3), "numbers"))
    killer.join()
    assert written(worker.folder) == set(range(12))
    asked = {int(line) for line in (tmp_path / "asked").read_text().split()}
    assert 1 <= len(asked) <= 3  # those that were outstanding, and no other
    assert {done.task_id for done in dones} >= set(range(12)) - asked
    assert len(sessions(worker.folder)) == 2


def test_an_engine_that_breaks_takes_its_process_along(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((2, "engine"),))
    list(ray_runtime.map(worker, Tasks(tuple(range(6)), tmp_path / "asked"), Placement(in_flight=1), "numbers"))
    first, second = [pid for pid, _ in sessions(worker.folder)]
    assert first != second
    assert written(worker.folder) == set(range(6))


def test_a_restart_is_logged_with_its_cause(
    ray_runtime: Runtime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((2, "engine"),))
    with caplog.at_level(logging.WARNING):
        list(ray_runtime.map(worker, Tasks((1, 2, 3), tmp_path / "asked"), Placement(in_flight=1), "numbers"))
    assert "numbers[0] died: engine broken at 2; restart 1 of 3, 1 of its 1 tasks go on" in caplog.text


def test_too_many_deaths_end_the_map(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((2, "exit"), (4, "exit")))
    placement = Placement(in_flight=1, max_restarts=1)
    with pytest.raises(EngineError, match=r"death 2 of this step, more than placement.max_restarts \(1\)"):
        list(ray_runtime.map(worker, Tasks(tuple(range(6)), tmp_path / "asked"), placement, "numbers"))
    assert written(worker.folder) == {0, 1, 2, 3}


def test_a_stalled_actor_is_replaced(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((2, "stall"),))
    placement = Placement(in_flight=2, stall_s=3)
    list(ray_runtime.map(worker, Tasks(tuple(range(4)), tmp_path / "asked"), placement, "numbers"))
    assert written(worker.folder) == set(range(4))
    assert len(sessions(worker.folder)) == 2


def test_a_caller_that_takes_its_time_is_no_stall(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), seconds=0.01)
    tasks = Tasks(tuple(range(30)), tmp_path / "asked")
    for done in ray_runtime.map(worker, tasks, Placement(in_flight=4, stall_s=2), "numbers"):
        if done.task_id == 0:
            time.sleep(3)
    assert len(sessions(worker.folder)) == 1


def test_replicas_share_the_tasks(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), seconds=0.1)
    tasks = Tasks(tuple(range(30)), tmp_path / "asked")
    assert len(list(ray_runtime.map(worker, tasks, Placement(replicas=2, in_flight=2), "numbers"))) == 30
    assert len(sessions(worker.folder)) == 2


def test_a_session_gets_the_threads_of_its_placement(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"))
    list(ray_runtime.map(worker, Tasks((1,), tmp_path / "asked"), Placement(cpus=2), "numbers"))
    assert [threads for _, threads in sessions(worker.folder)] == ["2"]


def test_two_maps_of_one_name_run_side_by_side(ray_runtime: Runtime, tmp_path: Path) -> None:
    """Two candidates of one target answer at once, and two runs share a cluster."""
    works = [
        (NumberWriter(str(tmp_path / name / "out"), seconds=0.3), tuple(range(4))) for name in ("one", "other")
    ]  # fmt: skip
    maps = [
        ray_runtime.map(worker, Tasks(numbers, tmp_path / "asked"), Placement(), "numbers") for worker, numbers in works
    ]
    for _ in zip(*maps, strict=True):
        pass
    assert [written(worker.folder) for worker, _ in works] == [set(range(4)), set(range(4))]


@pytest.mark.parametrize("parallel", [{"tensor_parallel": 2}, {"pipeline_parallel": 2}])
def test_gpus_are_free_again_after_a_map(ray_runtime: Runtime, tmp_path: Path, parallel: dict[str, int]) -> None:
    placement = Placement(gpus=2, **parallel)
    for turn in ("first", "second"):  # a group that stayed would make the second wait for ever
        worker = NumberWriter(str(tmp_path / turn / "out"), mood=((1, "exit"),))
        list(ray_runtime.map(worker, Tasks((1, 2), tmp_path / "asked"), placement, turn))
        assert [pid for pid, _ in sessions(worker.folder) if is_alive(pid)] == []
    assert {group["state"] for group in placement_group_table().values()} == {"REMOVED"}
    deadline = time.monotonic() + 10  # nodes report what is free once in a while
    while ray.available_resources().get("GPU") != 2:
        assert time.monotonic() < deadline, ray.available_resources()
        time.sleep(0.1)


def test_gpus_are_told_as_awaited_until_they_come(ray_runtime: Runtime, tmp_path: Path) -> None:
    both = Placement(gpus=2, in_flight=1)
    holder = NumberWriter(str(tmp_path / "holder" / "out"))
    holding = ray_runtime.map(holder, Tasks((1, 2), tmp_path / "asked"), both, "holder")
    next(holding)
    awaited: list[int] = []
    worker = NumberWriter(str(tmp_path / "waiter" / "out"), seconds=1.0)
    runtime = ray_runtime.telling(awaited.append)
    waiter = threading.Thread(
        target=lambda: list(runtime.map(worker, Tasks((1, 2, 3), tmp_path / "asked"), both, "waiter"))
    )
    waiter.start()
    deadline = time.monotonic() + 60
    while len(awaited) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert set(awaited) == {2}
    holding.close()  # type: ignore[attr-defined]
    waiter.join(60)
    assert written(worker.folder) == {1, 2, 3}
    assert awaited[-2:] == [0, 0]  # the first of them while it worked, the last at its end


def test_a_map_that_fails_gives_its_gpus_back(ray_runtime: Runtime, tmp_path: Path) -> None:
    worker = NumberWriter(str(tmp_path / "out"), mood=((1, "raise"),))
    with pytest.raises(EngineError, match="boom"):
        list(ray_runtime.map(worker, Tasks((1,), tmp_path / "asked"), Placement(gpus=2), "numbers"))
    assert {group["state"] for group in placement_group_table().values()} == {"REMOVED"}
