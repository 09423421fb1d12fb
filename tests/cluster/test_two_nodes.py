"""`cluster/two_nodes.sh` for real: two nodes come up for a command, and nothing of them outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster.marked import Marked, marked

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "cluster" / "two_nodes.sh"
RAY = Path(sys.executable).parent / "ray"
END_S = 90.0
"""Ray's command waits half a minute for processes that it ends."""


@contextmanager
def two_nodes(folder: Path, *words: str) -> Iterator[Marked]:
    driver = [sys.executable, "-m", "tests.cluster.nodes_driver", "2", str(folder / "told.json"), *words]
    hidden = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH")
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    with marked([str(SCRIPT), *driver], variables | {"RAY": str(RAY), "PYTHONPATH": str(ROOT)}, folder) as script:
        yield script


def told(folder: Path) -> dict[str, object]:
    return dict(json.loads((folder / "told.json").read_text()))


def test_a_command_finds_two_nodes_that_want_a_token_and_end_with_it(tmp_path: Path) -> None:
    with two_nodes(tmp_path, "fail") as script:
        said, _ = script.process.communicate(timeout=300)
        assert script.process.returncode == 7, said  # the command's own
        assert script.left(END_S) == []
    seen = told(tmp_path)
    assert (seen["nodes"], seen["auth"], seen["folder"]) == (2, "token", str(tmp_path))
    assert not Path(str(seen["token"])).parent.exists()


def test_ctrl_c_ends_the_command_and_its_nodes(tmp_path: Path) -> None:
    with two_nodes(tmp_path, "hold") as script:
        deadline = time.monotonic() + 200
        while not (tmp_path / "told.json").exists():
            assert time.monotonic() < deadline
            assert script.process.poll() is None, script.process.communicate()[0]
            time.sleep(0.3)
        os.killpg(script.process.pid, signal.SIGINT)
        said, _ = script.process.communicate(timeout=END_S)
        assert script.process.returncode == 130, said
        assert script.left(END_S) == []
    assert told(tmp_path)["interrupted"] is True
    assert not Path(str(told(tmp_path)["token"])).parent.exists()


def test_without_a_command_it_says_what_it_is_for() -> None:
    done = subprocess.run([str(SCRIPT)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "cluster/two_nodes.sh fusion submit experiment=quickstart" in done.stdout
