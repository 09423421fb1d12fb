"""What Prometheus reads: a map and a stream on a real Ray, and the node's own endpoint asked for their series."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.metrics import COUNTERS, GAUGES, HISTOGRAMS, exported, step_of
from actors.runtime import RayRuntime
from fusion.cluster_config import RayConfig
from fusion.errors import ConfigError
from fusion.step import Placement
from tests.workers import NumberWriter, Tasks

SERIES = re.compile(r"^(\w+)\{(.*)\} (\S+)$", re.MULTILINE)
USD = [12.5]
"""What the run has cost so far."""
HEARD_S = 60.0
"""Ray's processes report every ten seconds."""


@dataclass(frozen=True)
class Node:
    """A Ray of our own, and where it shows its metrics."""

    runtime: RayRuntime
    port: int

    def read(self) -> dict[tuple[str, str, str], float]:
        """(name, work, step or replica or reason) -> value, of the series of this run."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            found = SERIES.findall(answer.read().decode())
        tags = [(name, dict(re.findall(r'(\w+)="(.*?)"', tags)), float(value)) for name, tags, value in found]
        return {
            (name, own.get("work", ""), own.get("reason") or own.get("replica") or own.get("step", "")): value
            for name, own, value in tags
            if own.get("run") == "toy" and own.get("le", "+Inf") == "+Inf"
        }

    def until(self, wanted: Callable[[dict[tuple[str, str, str], float]], bool]) -> dict[tuple[str, str, str], float]:
        """The series, once they are as wanted."""
        deadline = time.monotonic() + HEARD_S
        while not wanted(series := self.read()):
            assert time.monotonic() < deadline, series
            time.sleep(0.5)
        return series


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="fm", dir="/tmp")  # short: sockets lie in it
    config = RayConfig(temp_dir=folder, metrics_port=port, num_gpus=2)
    runtime = RayRuntime(config, run="toy", usd=lambda: USD[0])
    yield Node(runtime, port)
    runtime.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_map_is_counted_and_watched(node: Node, tmp_path: Path) -> None:
    worker = NumberWriter(
        str(tmp_path / "responses" / "pico-0f3c"), seconds=0.8, mood=((3, "lose"), (5, "lose"), (7, "exit"))
    )
    tasks = Tasks(tuple(range(40)), tmp_path / "asked", parts=worker.folder)
    queues: list[float] = []
    for _ in node.runtime.map(worker, tasks, Placement(in_flight=2), "generate pico"):
        queues.append(node.read().get(("ray_fusion_in_flight", "generate pico", "generate pico[0]"), 0.0))
    assert max(queues) == 2.0  # while it ran it was seen full
    rows = ("ray_fusion_rows_committed_total", "generate pico", "responses/pico")
    series = node.until(lambda series: series.get(rows) == 38.0 and series.get((IN_FLIGHT, *PICO)) == 0.0)
    assert series["ray_fusion_tokens_total", "generate pico", "responses/pico"] == 380.0
    assert series["ray_fusion_rows_lost_total", "generate pico", "request_failed"] == 2.0
    assert series["ray_fusion_deaths_total", "generate pico", ""] == 1.0
    assert series["ray_fusion_task_seconds_bucket", "generate pico", ""] == 40.0
    assert 0.0 <= series["ray_fusion_idle_share", "generate pico", ""] < 0.9


IN_FLIGHT = "ray_fusion_in_flight"
PICO = ("generate pico", "generate pico[0]")


@pytest.mark.slow
def test_a_stream_is_counted_and_watched(node: Node, tmp_path: Path) -> None:
    folder = str(tmp_path / "rewards" / "pico-a-0f3c")
    backlog: list[float] = []
    for _ in node.runtime.stream([(NumberWriter(folder, seconds=0.5), Placement())], range(40), "score"):
        backlog.append(node.read().get(("ray_fusion_feed_backlog", "score", ""), 0.0))
    assert max(backlog) > 10  # the feed was there at once, and took twenty seconds
    rows = ("ray_fusion_rows_committed_total", "score", "rewards/pico-a")
    series = node.until(lambda s: s.get(rows) == 40.0 and s.get(("ray_fusion_feed_backlog", "score", "")) == 0.0)
    assert ("ray_fusion_rows_lost_total", "score", "request_failed") not in series
    assert series["ray_fusion_idle_share", "score", ""] < 0.9


@pytest.mark.slow
def test_money_is_what_the_account_says(node: Node) -> None:
    """It began at 0 whenever a run went on, and left out what endpoints took."""
    node.until(lambda series: series.get(("ray_fusion_usd", "", "")) == USD[0])
    USD[0] = 99.5
    node.until(lambda series: series.get(("ray_fusion_usd", "", "")) == 99.5)


def test_names_are_what_prometheus_makes_of_ours() -> None:
    assert len(exported()) == len(COUNTERS) + len(GAUGES) + len(HISTOGRAMS)
    assert {"ray_fusion_tokens_total", "ray_fusion_usd", "ray_fusion_task_seconds_bucket"} <= exported()


def test_a_step_is_known_by_where_its_rows_go() -> None:
    assert step_of("s3://bucket/store/responses/gemma3_270m-0f3c5a/") == "responses/gemma3_270m"
    assert step_of("store/rewards/a-math_answer-0f3c5a") == "rewards/a-math_answer"


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="metrics_port"):
        RayConfig(metrics_port=70000)
