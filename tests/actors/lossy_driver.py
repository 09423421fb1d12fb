"""A driver on a cluster whose nodes are lost: `python -m tests.actors.lossy_driver ADDRESS FOLDER map|stream`.

Writes each answer it hears to FOLDER/heard.txt at once, so that the test sees how far it is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import ray

from actors.runtime import RayRuntime
from fusion.cluster_config import RayConfig
from fusion.step import Placement
from tests.workers import NumberWriter, Tasks

NUMBERS = 60
PLACEMENT = Placement(replicas=2, cpus=4, in_flight=2)
"""Two sessions that do not fit on one node."""


def main(address: str, folder: Path, how: str) -> None:
    runtime = RayRuntime(RayConfig(address=address, cpu_share=1.0), print)
    while sum(node["Alive"] for node in ray.nodes()) < 3:
        time.sleep(0.2)  # a node's processes are there before it has joined
    worker = NumberWriter(str(folder / "out"), seconds=1.0)
    if how == "map":
        tasks = Tasks(tuple(range(NUMBERS)), folder / "asked", parts=worker.folder)
        dones = runtime.map(worker, tasks, PLACEMENT, "numbers")
    else:
        dones = runtime.stream([(worker, PLACEMENT)], range(NUMBERS), "numbers")
    for done in dones:
        with open(folder / "heard.txt", "a") as file:
            file.write(f"{done.task_id}\n")
    runtime.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
