"""A cluster that grows and shrinks: a step gets the nodes that its placement asks for, and no node outlives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors.elastic import ROOT, elastic_head

pytestmark = pytest.mark.slow

NODE_TYPES = {"gpu": {"CPU": 1, "GPU": 1}, "scorer": {"CPU": 4}}


@pytest.mark.timeout(900)
def test_a_step_grows_the_cluster_to_its_placement_and_gives_it_back(tmp_path: Path) -> None:
    with elastic_head(NODE_TYPES) as head:
        done = subprocess.run(
            [sys.executable, "-m", "tests.actors.elastic_driver", head.address, str(tmp_path)],
            cwd=ROOT, env=os.environ | head.settings, capture_output=True, text=True, timeout=800, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    # What the autoscaler knows of the demand is a second old, so it may start one that is needed no more.
    assert told["map"]["nodes"] in ({"gpu": 2}, {"gpu": 3})
    assert told["map"]["numbers"] == list(range(40))
    assert told["stream"]["nodes"] == {"scorer": 1}
    assert told["stream"]["numbers"] == list(range(60))
    assert told["never"]["groups"] == 0
    for name in ("map", "stream", "train"):
        never = told["never"][name]
        assert f"{name}: no node gave 9 GPUs and 1 CPU within 14 s" in never["error"]
        assert "raise cluster.ray.resource_wait_s" in never["error"]
        assert never["awaited"][-2:] == [9, 0]  # GPUs that are not counted as held
        assert set(never["awaited"]) == {9, 0}
        (line,) = never["notices"]
        assert line.startswith(f"{name}: 1 of 1 workers wait for a node since 1")
        assert "0 of 0 GPUs" in line
        assert "no node that is up could hold it; the autoscaler was asked" in line
