"""A driver on a cluster that grows: `python -m tests.actors.elastic_driver ADDRESS FOLDER`.

Runs a map on two GPUs, waits until the nodes are gone, then a stream on another type of node, then asks for what no
node has. Prints JSON: for each phase the nodes by type that were up at its fullest, what came back, and the lines it
was told.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import ray
from ray.util.placement_group import placement_group_table

from actors.runtime import RayRuntime
from fusion.cluster_config import RayConfig
from fusion.errors import EngineError
from fusion.step import Placement
from tests.fusion.train.jobs import make_job
from tests.workers import NumberWriter, Tasks, written

GONE_S = 90.0
PATIENCE_S = 14.0
SCORED = 60
"""Half a minute of full use, after which Ray Data might ask for nodes that the plan does not hold."""


class Nodes:
    """Watches which nodes are up: by the resource that marks a type. Ray asked after it was left starts a new one."""

    def __init__(self) -> None:
        self.most: Counter[str] = Counter()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._done.set()
        self._thread.join()

    def now(self) -> Counter[str]:
        up = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return Counter("gpu" if "GPU" in has else "scorer" for has in up if has.get("CPU"))

    def drained(self) -> dict[str, int]:
        """The most that were up since the last call, once none is."""
        deadline = time.monotonic() + GONE_S
        while self.now() and time.monotonic() < deadline:
            time.sleep(0.5)
        assert not self.now(), f"still up after {GONE_S} s: {self.now()}"
        most, self.most = dict(self.most), Counter()
        return most

    def _watch(self) -> None:
        while not self._done.wait(0.3):
            self.most |= self.now()


def never(address: str, folder: Path) -> dict[str, object]:
    """A map, a stream and a training that ask for nine GPUs on one node, each with little patience."""
    notices: list[str] = []
    awaited: list[int] = []
    joined = RayRuntime(RayConfig(address=address, cpu_share=1.0, resource_wait_s=PATIENCE_S), notices.append)
    runtime = joined.telling(awaited.append)
    worker, nine = NumberWriter(str(folder / "never" / "out")), Placement(gpus=9)
    ways: dict[str, Callable[[], object]] = {
        "map": lambda: list(runtime.map(worker, Tasks((1,), folder / "asked"), nine, "map")),
        "stream": lambda: list(runtime.stream([(worker, nine)], range(2), "stream")),
        "train": lambda: runtime.train(make_job(folder / "job"), nine, "train"),
    }
    told: dict[str, object] = {}
    for name, way in ways.items():
        notices.clear()
        awaited.clear()
        try:
            way()
        except EngineError as error:
            told[name] = {"error": str(error), "notices": notices.copy(), "awaited": awaited.copy()}
    groups = [group for group in placement_group_table().values() if group["state"] != "REMOVED"]
    return told | {"groups": len(groups)}


def main(address: str, folder: Path) -> None:
    notices: list[str] = []
    runtime = RayRuntime(RayConfig(address=address, cpu_share=1.0), notices.append)
    nodes = Nodes()
    told: dict[str, object] = {}
    began = time.monotonic()

    def note(what: str) -> None:
        print(f"{time.monotonic() - began:.0f} s: {what}", file=sys.stderr, flush=True)

    gpus = Placement(replicas=2, gpus=1, cpus=1, in_flight=2)
    worker = NumberWriter(str(folder / "map" / "out"), seconds=0.1)
    list(runtime.map(worker, Tasks(tuple(range(40)), folder / "asked"), gpus, "numbers"))
    note(f"map done, {nodes.now()}")
    told["map"] = {"nodes": nodes.drained(), "numbers": sorted(written(worker.folder)), "notices": notices.copy()}

    note("drained")
    notices.clear()
    scorer = NumberWriter(str(folder / "stream" / "out"), seconds=0.5)
    list(runtime.stream([(scorer, Placement(cpus=4))], range(SCORED), "scores"))
    note(f"stream done, {nodes.now()}")
    told["stream"] = {"nodes": nodes.drained(), "numbers": sorted(written(scorer.folder)), "notices": notices.copy()}
    note("drained")
    told["never"] = never(address, folder)
    nodes.end()
    runtime.close()
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
