"""`cluster/slurm.sh` on a Slurm of one machine: a head and a worker come up, the run joins them, all end together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.marked import Marked, marked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
END_S = 90.0
FIRST_PORT = 20_000
"""The script's port of job 0."""


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def free_job() -> int:
    """A job whose port nobody has."""
    for job in range(os.getpid() % 10_000, 12_000):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", FIRST_PORT + job))
            except OSError:
                continue
            return job
    raise AssertionError("no port is free")


@contextmanager
def slurm_job(folder: Path, *words: str) -> Iterator[Marked]:
    """`sbatch` of the script in a checkout whose `fusion` is a driver that tells what it saw."""
    python, job = sys.executable, free_job()
    for name in ("sbatch", "srun", "scontrol", "scancel"):
        put(folder / "bin" / name, f'exec {python} -m tests.cluster.slurm_stand_in {name} "$@"')
    put(folder / "bin" / "hostname", "echo 127.0.0.1")
    tools = folder / "root" / ".venv" / "bin"
    put(tools / "python", f'exec {python} "$@"')
    put(tools / "ray", f'exec {python} -m ray.scripts.scripts "$@"')
    put(tools / "fusion", f'exec {python} -m tests.cluster.nodes_driver 2 {folder}/told.json "$@"')
    (folder / "state").mkdir()
    (folder / "home").mkdir()
    hidden = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
    variables = {name: value for name, value in os.environ.items() if name not in hidden} | {
        "PATH": f"{folder}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "SLURM_STAND_IN": str(folder / "state"),
        "SLURM_STAND_IN_JOB": str(job),
        "FUSION_ROOT": str(folder / "root"),
        "FUSION_HOME": str(folder / "home"),
    }
    command = ["sbatch", "--nodes=2", str(ROOT / "cluster" / "slurm.sh"), *words]
    try:
        with marked([str(folder / "bin" / command[0]), *command[1:]], variables, folder) as script:
            yield script
    finally:
        shutil.rmtree(f"/tmp/fusion-{job}", ignore_errors=True)


def told(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "told.json").read_text()))


def test_a_run_joins_a_head_and_a_worker_that_end_with_the_job(tmp_path: Path) -> None:
    with slurm_job(tmp_path, "experiment=quickstart", "fail") as job:
        said, _ = job.process.communicate(timeout=300)
        assert job.process.returncode == 7, said  # the run's own
        assert job.left(END_S) == []
    seen = told(tmp_path)
    assert (seen["nodes"], seen["auth"], seen["folder"]) == (2, "token", str(tmp_path / "home"))
    words = seen["words"]
    assert isinstance(words, list)
    assert words[:2] == ["run", "cluster=slurm"]
    assert words[3:] == ["experiment=quickstart", "fail"]
    assert list((tmp_path / "home").iterdir()) == []  # the token's folder is gone


def test_before_the_time_limit_the_run_is_interrupted_and_may_save(tmp_path: Path) -> None:
    """Slurm signals the script only; the run got its Ctrl-C never, since srun answers the first one by its state."""
    with slurm_job(tmp_path, "hold") as job:
        deadline = time.monotonic() + 200
        while not (tmp_path / "told.json").exists():
            assert time.monotonic() < deadline
            assert job.process.poll() is None, job.process.communicate()[0]
            time.sleep(0.3)
        job.process.send_signal(signal.SIGTERM)
        said, _ = job.process.communicate(timeout=END_S)
        assert job.process.returncode == 130, said
        assert job.left(END_S) == []
    assert told(tmp_path)["interrupted"] is True
