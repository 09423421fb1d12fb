"""Training on Ray Train: two processes, one of them killed, and errors that no restart mends."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from fusion.errors import StepFailed
from fusion.objectives.base import Objective
from fusion.objectives.dpo import Dpo
from fusion.objectives.infifpo import Infifpo
from fusion.objectives.wrpo import Wrpo
from fusion.runtime import Runtime
from fusion.step import Placement
from fusion.train.config import Lora
from fusion.train.job import TrainJob
from fusion.train.rows import read_rows, write_rows
from tests.fusion.train.jobs import assert_same_outcome, elsewhere, losses, make_diverging_job, make_job, weighted
from tests.workers import is_alive

pytestmark = pytest.mark.slow
STALL_S = 60.0
"""Longer than these processes take to start on two busy cores."""


@dataclass(frozen=True)
class KnownJob(TrainJob):
    """A job whose processes say who they are, so that the test kills its own and no other."""

    def run(self, rank: int, world_size: int) -> None:
        pids = Path(self.work) / "pids"
        pids.mkdir(exist_ok=True)
        (pids / f"{time.time_ns()}-{rank}").write_text(str(os.getpid()))
        super().run(rank, world_size)


def known(job: TrainJob) -> KnownJob:
    return KnownJob(**{field.name: getattr(job, field.name) for field in fields(job)})


def starts(job: TrainJob) -> list[int]:
    """Process ids, in the order in which processes started."""
    return [int(file.read_text()) for file in sorted((Path(job.work) / "pids").iterdir())]


@pytest.fixture
def watcher() -> Iterator[list[threading.Thread]]:
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(timeout=60)


def test_a_killed_process_of_two_is_replaced_and_zero_3_dpo_ends_as_if_nothing_had_been(
    tmp_path: Path, ray_runtime: Runtime, watcher: list[threading.Thread]
) -> None:
    placement = Placement(replicas=2, cpus=1, max_restarts=1)
    undisturbed = make_job(tmp_path / "undisturbed", Dpo(beta=0.1), zero_stage=3)
    ray_runtime.train(undisturbed, placement, "checkpoint/undisturbed")
    job = known(elsewhere(undisturbed, tmp_path / "killed"))

    def kill_the_second_after_step_5() -> None:
        while not (Path(job.work) / "checkpoints" / "checkpoint-5" / "complete.json").exists():
            time.sleep(0.002)
        os.kill(starts(job)[1], signal.SIGKILL)

    watcher.append(threading.Thread(target=kill_the_second_after_step_5, daemon=True))
    watcher[0].start()
    ray_runtime.train(job, placement, "checkpoint/killed")
    assert len(starts(job)) == 4
    assert_same_outcome(job, undisturbed, 1e-6)


@pytest.mark.parametrize(
    ("objective", "lora"),
    [(Infifpo(), Lora()), (Wrpo(beta=0.1, alpha_max=0.5), Lora()), (Dpo(beta=0.1), Lora(rank=4))],
    ids=["infifpo", "wrpo", "dpo with adapters"],
)
def test_two_processes_train_weighted_rows_of_any_objective_as_one_does(
    tmp_path: Path, ray_runtime: Runtime, objective: Objective, lora: Lora
) -> None:
    one = weighted(make_job(tmp_path / "one", objective, epochs=2, lora=lora, save_every_steps=0), sources=2)
    two = elsewhere(one, tmp_path / "two")
    ray_runtime.train(one, Placement(replicas=1, cpus=1), "checkpoint/one")
    ray_runtime.train(two, Placement(replicas=2, cpus=1), "checkpoint/two")
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)


@pytest.mark.parametrize("objective", [None, Dpo(beta=0.1)], ids=["sft", "dpo"])
def test_a_process_without_a_row_in_a_step_takes_part_in_it(
    tmp_path: Path, ray_runtime: Runtime, objective: Objective | None
) -> None:
    """Nine rows in batches of eight: the last is one process's alone."""
    one = make_job(tmp_path / "one", objective, epochs=1, save_every_steps=0)
    write_rows(Path(one.work) / "rows.parquet", read_rows(Path(one.work) / "rows.parquet")[:9])
    two = elsewhere(one, tmp_path / "two")
    ray_runtime.train(one, Placement(replicas=1, cpus=1), "checkpoint/one")
    ray_runtime.train(two, Placement(replicas=2, cpus=1), "checkpoint/two")
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)


def test_an_error_of_ours_reaches_the_caller_and_is_not_tried_again(tmp_path: Path, ray_runtime: Runtime) -> None:
    job = known(make_diverging_job(tmp_path / "job"))
    with pytest.raises(StepFailed, match="the loss of step 1 is nan"):
        ray_runtime.train(job, Placement(max_restarts=3), "checkpoint/diverges")
    assert len(starts(job)) == 1


def test_a_process_that_hangs_is_replaced_and_the_result_is_that_of_an_undisturbed_job(
    tmp_path: Path, ray_runtime: Runtime, watcher: list[threading.Thread], caplog: pytest.LogCaptureFixture
) -> None:
    undisturbed = make_job(tmp_path / "undisturbed", Dpo(beta=0.1))
    ray_runtime.train(undisturbed, Placement(replicas=2, cpus=1), "checkpoint/undisturbed")
    job = known(elsewhere(undisturbed, tmp_path / "hangs"))

    def stop_the_second_after_step_5() -> None:
        while not (Path(job.work) / "checkpoints" / "checkpoint-5" / "complete.json").exists():
            time.sleep(0.002)
        os.kill(starts(job)[1], signal.SIGSTOP)

    watcher.append(threading.Thread(target=stop_the_second_after_step_5, daemon=True))
    watcher[0].start()
    ray_runtime.train(job, Placement(replicas=2, cpus=1, max_restarts=1, stall_s=STALL_S), "checkpoint/hangs")
    assert len(starts(job)) == 4
    assert_same_outcome(job, undisturbed, 1e-6)
    assert [pid for pid in starts(job) if is_alive(pid)] == []
    assert "checkpoint/hangs: no step for 60 s (placement.stall_s)" in caplog.text
