"""kill -9 of any process at any time, then the same command: nothing lost, nothing doubled, nothing done twice.

Every run here is compared byte for byte with an undisturbed one, which the batch-invariant generator makes possible.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.pico import command, environment, fusion, is_unique, make_workspace, result, rows

pytestmark = [pytest.mark.slow, pytest.mark.chaos]
NUM_PROMPTS, NUM_SAMPLES = 48, 3
TABLES = ("prompts", "responses", "rewards", "sft", "pairs", "drops")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("kill"), NUM_PROMPTS)


@pytest.fixture(scope="module")
def undisturbed(workspace: Path) -> dict[str, list[dict[str, object]]]:
    done = fusion(workspace, "name=calm", "store.path=calm_store")
    assert done.returncode == 0, done.stdout + done.stderr
    return {table: rows(workspace, table, "calm") for table in TABLES}


def committed(store: Path, kind: str, at_least: int) -> Callable[[], bool]:
    return lambda: len(list(store.glob(f"{kind}/*/parts/*.parquet"))) >= at_least


def training(store: Path, label: str) -> Callable[[], bool]:
    return lambda: any(store.glob(f"checkpoint/{label}-*/work/*"))


def process(driver: psutil.Process, title: str) -> psutil.Process | None:
    """A descendant of the driver whose title contains `title`; Ray names its workers after what they host."""
    for child in driver.children(recursive=True):
        try:
            if title in " ".join(child.cmdline()):
                return child
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return None


def start(workspace: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(workspace, f"name={name}", f"store.path={name}_store", "train.sft.execution.save_every_steps=1"),
        cwd=workspace, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def wait_for(ready: Callable[[], object], run: subprocess.Popen[bytes], what: str) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        assert run.poll() is None, f"the run ended before {what}"
        assert time.monotonic() < deadline, f"never saw {what}"
        time.sleep(0.02)


def files_of(store: Path, kind: str) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in store.glob(f"{kind}/*/parts/*.parquet")}


def assert_same(workspace: Path, name: str, undisturbed: dict[str, list[dict[str, object]]]) -> None:
    for table in TABLES:
        assert rows(workspace, table, name) == undisturbed[table], f"{table} differs from the undisturbed run"
    assert is_unique(rows(workspace, "responses", name), "prompt_id", "source", "sample_index")


@pytest.mark.parametrize(
    ("title", "kind", "parts"),
    [("SourceActor", "responses", 3), ("RewardActor", "rewards", 2), ("RayTrainWorker", "sft", 1)],
    ids=["source actor", "reward actor", "training worker"],
)
def test_a_killed_worker_is_replaced_and_the_run_goes_on(
    workspace: Path, undisturbed: dict[str, list[dict[str, object]]], title: str, kind: str, parts: int
) -> None:
    name = f"worker_{title.lower()}"
    store = workspace / f"{name}_store"
    run = start(workspace, name)
    try:
        driver = psutil.Process(run.pid)
        wait_for(committed(store, kind, parts), run, f"{parts} parts of {kind}")
        wait_for(lambda: process(driver, title), run, f"a {title}")
        before = files_of(store, "responses")
        victim = process(driver, title)
        assert victim is not None
        os.kill(victim.pid, signal.SIGKILL)
        assert run.wait(400) == 0, (workspace / "runs" / name / "log.txt").read_text()[-3000:]
    finally:
        if run.poll() is None:
            run.kill()
            run.wait()
    assert before.items() <= files_of(store, "responses").items()
    assert_same(workspace, name, undisturbed)


@pytest.mark.parametrize("moment", ["generating", "scoring", "training"])
def test_a_killed_driver_is_resumed_by_the_same_command(
    workspace: Path, undisturbed: dict[str, list[dict[str, object]]], moment: str
) -> None:
    name = f"driver_{moment}"
    store = workspace / f"{name}_store"
    ready = {
        "generating": committed(store, "responses", 3),
        "scoring": committed(store, "rewards", 2),
        "training": training(store, "sft"),
    }[moment]
    run = start(workspace, name)
    wait_for(ready, run, moment)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    before = files_of(store, "responses")
    again = fusion(workspace, f"name={name}", f"store.path={name}_store", "train.sft.execution.save_every_steps=1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert before.items() <= files_of(store, "responses").items(), "a committed part was touched"
    assert_same(workspace, name, undisturbed)
    if moment == "generating":
        steps: list[dict[str, object]] = result(workspace, name)["steps"]  # type: ignore[assignment]
        asked = sum(s["totals"].get("num_requests", 0) for s in steps if s["label"] in ("pico_a", "pico_b"))  # type: ignore[attr-defined]
        prompts = {str(row["prompt_id"]) for row in undisturbed["prompts"]}
        assert asked < 2 * len(prompts), "every prompt was asked again"


def test_ctrl_c_ends_with_130_and_resumes(workspace: Path, undisturbed: dict[str, list[dict[str, object]]]) -> None:
    store = workspace / "ctrl_c_store"
    run = start(workspace, "ctrl_c")
    wait_for(committed(store, "responses", 2), run, "two parts of responses")
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    again = fusion(workspace, "name=ctrl_c", "store.path=ctrl_c_store", "train.sft.execution.save_every_steps=1")
    assert again.returncode == 0, again.stdout + again.stderr
    assert_same(workspace, "ctrl_c", undisturbed)
