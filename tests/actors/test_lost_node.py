"""A node is lost under a running map and a running stream: what is left does the work, and nothing heard is redone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.actors.lossy_driver import NUMBERS, PLACEMENT
from tests.end_to_end.chaos.cluster import RayNodes
from tests.end_to_end.pico import environment
from tests.workers import sessions, worked, written

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
START_S = 240.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with RayNodes() as made:
        yield made


@pytest.mark.parametrize("how", ["map", "stream"])
def test_what_is_left_of_the_cluster_does_the_work(how: str, nodes: RayNodes, tmp_path: Path) -> None:
    nodes.complete()
    out, heard = str(tmp_path / "out"), tmp_path / "heard.txt"
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.actors.lossy_driver", nodes.address, str(tmp_path), how],
        env=environment() | nodes.settings | {"RAY_BACKEND_LOG_LEVEL": "fatal"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + START_S
        while not (heard.exists() and len(heard.read_text().split()) > 10 and len(sessions(out)) == PLACEMENT.replicas):
            assert driver.poll() is None, driver.communicate()[0]
            assert time.monotonic() < deadline, "the work did not begin"
            time.sleep(0.1)
        before = {int(line) for line in heard.read_text().split()}
        nodes.lose_node_of(psutil.Process(sessions(out)[0][0]))
        told = driver.communicate(timeout=400)[0]
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 0, told
    assert len(before) < NUMBERS - 10, "the loss came too late to matter"
    assert written(out) == set(range(NUMBERS))
    times = Counter(worked(out))
    assert {number for number in before if times[number] > 1} == set()
    twice = {number for number, count in times.items() if count > 1}
    if how == "map":
        assert not twice, "a map asks what is committed before it does a task again"
        assert 1 <= len((tmp_path / "asked").read_text().split()) <= PLACEMENT.in_flight
    else:
        assert len(twice) <= 10, "only what was on its way to the driver is done again"
