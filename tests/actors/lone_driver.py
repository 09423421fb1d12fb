"""A driver to be run, watched and killed: `python -m tests.actors.lone_driver FOLDER end|wait`.

Starts Ray from a thread that ends, lets a source actor and a reward actor die on the way, prints nothing of its own.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from pathlib import Path

from actors.runtime import RayRuntime
from fusion.cluster_config import RayConfig
from fusion.step import Placement
from tests.workers import NumberWriter, Tasks


def main(folder: Path, how: str) -> None:
    logging.basicConfig(filename=folder / "log.txt", level=logging.INFO)
    runtimes: list[RayRuntime] = []
    starter = threading.Thread(target=lambda: runtimes.append(RayRuntime(RayConfig(temp_dir=str(folder / "r")))))
    starter.start()
    starter.join()
    worker = NumberWriter(str(folder / "map" / "out"), mood=((1, "exit"),))
    list(runtimes[0].map(worker, Tasks((0, 1, 2), folder / "asked"), Placement(), "numbers"))
    scorer = NumberWriter(str(folder / "stream" / "out"), mood=((1, "exit"),))
    for _ in runtimes[0].stream([(scorer, Placement())], range(3), "scores"):
        if how == "wait":
            (folder / "ready").touch()
            time.sleep(600)
    runtimes[0].close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
