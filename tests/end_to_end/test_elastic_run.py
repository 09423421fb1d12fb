"""A whole run on a head without workers: the cluster grows for it, shrinks while it goes on, and is empty after it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors.elastic import ElasticHead, elastic_head
from tests.end_to_end.pico import EXACT, command, environment, make_workspace, result
from tests.end_to_end.ray_head import processes_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SMALL, LARGE = 2, 4
NODE_TYPES = {"small": {"CPU": SMALL}, "large": {"CPU": LARGE}}
POOLS = (
    *(f"++cluster.pools.{name}.cpus=1" for name in ("responses", "verifiers", "logprobs")),
    f"++cluster.pools.rewards.cpus={SMALL}", f"++cluster.pools.checkpoint.cpus={LARGE}",
)  # fmt: skip
GONE_S = 60.0


def up(head: ElasticHead) -> Counter[int]:
    """How many nodes are up, by their CPUs; the head has none."""
    found: Counter[int] = Counter()
    for pid in processes_of(head.folder):
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        if arguments[0].endswith("raylet/raylet"):
            told = next(one for one in arguments if one.startswith("--static_resource_list=")).split(",")
            found[int(float(told[told.index("CPU") + 1])) if "CPU" in told else 0] += 1
    del found[0]
    return found


@pytest.fixture
def watched() -> Iterator[tuple[ElasticHead, list[Counter[int]]]]:
    """A head, and what was up, once a second."""
    seen: list[Counter[int]] = []
    end = threading.Event()
    with elastic_head(NODE_TYPES) as head:

        def watch() -> None:
            while not end.wait(1.0):
                seen.append(up(head))

        thread = threading.Thread(target=watch)
        thread.start()
        yield head, seen
        end.set()
        thread.join()


def test_a_run_starts_without_workers_grows_shrinks_between_stages_and_leaves_none(
    watched: tuple[ElasticHead, list[Counter[int]]], tmp_path: Path
) -> None:
    head, seen = watched
    assert not up(head)
    workspace = make_workspace(tmp_path, num_prompts=8)
    done = subprocess.run(
        command(workspace, *EXACT, *POOLS, f"cluster.ray.address={head.address}", "cluster.ray.cpu_share=1"),
        cwd=workspace, env=environment() | head.settings, capture_output=True, text=True,
        timeout=1500, check=False,
    )  # fmt: skip
    log = workspace / "runs" / "pico" / "log.txt"
    assert done.returncode == 0, done.stdout + done.stderr + log.read_text()[-4000:]
    assert "evaluation" in result(workspace)
    deadline = time.monotonic() + GONE_S
    while up(head):
        assert time.monotonic() < deadline, f"still up: {up(head)}"
        time.sleep(0.5)
    assert max(now[SMALL] for now in seen) >= 1
    assert max(now[LARGE] for now in seen) >= 1
    trains = next(number for number, now in enumerate(seen) if now[LARGE])
    assert any(now[LARGE] and not now[SMALL] for now in seen[trains:]), "what generated is gone while training goes on"
