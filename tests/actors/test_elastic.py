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


def test_a_step_grows_the_cluster_to_its_placement_and_gives_it_back(tmp_path: Path) -> None:
    with elastic_head(NODE_TYPES) as head:
        done = subprocess.run(
            [sys.executable, "-m", "tests.actors.elastic_driver", head.address, str(tmp_path)],
            cwd=ROOT, env=os.environ | head.settings, capture_output=True, text=True, timeout=400, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["map"]["nodes"] == {"gpu": 2}
    assert told["map"]["numbers"] == list(range(40))
    assert told["stream"]["nodes"] == {"scorer": 1}
    assert told["stream"]["numbers"] == list(range(20))
    for name in ("map", "stream"):
        *waiting, over = told[name]["notices"]
        assert all("workers wait for a node since" in line for line in waiting)
        assert "autoscaler was asked" in waiting[0] or "nodes are starting" in waiting[0]
        assert "has its nodes after" in over
