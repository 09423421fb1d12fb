"""Stands in for `fusion run` on a cluster that came up: `python -m tests.cluster.nodes_driver NODES FILE WORDS...`.

Joins the Ray of `cluster.ray.address=` (or of RAY_ADDRESS), waits for so many nodes, runs a task on each, and writes
what it saw to FILE. With the word `hold` it then stays until it is interrupted, says so in FILE, and ends with 130.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

PATIENCE_S = 120.0


def main(number: int, file: Path, words: list[str]) -> int:
    named = [word.removeprefix("cluster.ray.address=") for word in words if word.startswith("cluster.ray.address=")]
    ray.init(address=named[0] if named else os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")
    deadline = time.monotonic() + PATIENCE_S
    while len(nodes := [node["NodeID"] for node in ray.nodes() if node["Alive"]]) < number:
        assert time.monotonic() < deadline, f"{len(nodes)} of {number} nodes came up"
        time.sleep(0.3)
    asked = ray.remote(_where)
    seen = ray.get([asked.options(scheduling_strategy=_on(node)).remote() for node in nodes], timeout=PATIENCE_S)
    told: dict[str, object] = {
        "nodes": sorted(seen) == sorted(nodes) and len(nodes),
        "auth": os.environ.get("RAY_AUTH_MODE"),
        "token": os.environ.get("RAY_AUTH_TOKEN_PATH"),
        "folder": os.getcwd(),
        "words": words,
    }
    _write(file, told)
    try:
        while "hold" in words:
            time.sleep(0.2)
    except KeyboardInterrupt:
        _write(file, told | {"interrupted": True})
        return 130
    return 7 if "fail" in words else 0


def _where() -> str:
    return str(ray.get_runtime_context().get_node_id())


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _write(file: Path, told: dict[str, object]) -> None:
    """Whole or not at all: a test reads it as soon as it is there."""
    file.with_suffix(".tmp").write_text(json.dumps(told))
    file.with_suffix(".tmp").replace(file)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
