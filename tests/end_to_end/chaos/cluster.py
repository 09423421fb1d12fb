"""A Ray of several nodes on this machine, each a process tree that can be lost like a machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.end_to_end.chaos.ride import find
from tests.end_to_end.pico import environment

START_S = 180.0
READY = "Ray runtime started"
"""What a node writes when it has joined; a node that comes before its head has would give up."""
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "8",
    "RAY_raylet_start_wait_time_s": "120",
}
"""A lost node is noticed after eight seconds instead of half a minute; what happens then is the same. Fewer, and a busy
machine would lose nodes that are only slow; nor may its nodes be slow to start."""
NODE_CPUS = 6


class RayNodes:
    """A head that hosts nothing, and nodes that do. A context manager."""

    def __init__(self, num_nodes: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fc", dir="/tmp"))  # short: sockets lie in it
        self.address = f"127.0.0.1:{_free_port()}"
        self._num_nodes = num_nodes
        self._started = 0
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._logs: dict[int, Path] = {}

    @property
    def settings(self) -> dict[str, str]:
        """Environment of everybody who joins: Ray wants a token."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "token")}

    def __enter__(self) -> RayNodes:
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        (self.folder / "token").write_text(secrets.token_hex(32))
        port = self.address.rpartition(":")[2]
        self._start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false",
                    f"--temp-dir={self.folder}")  # fmt: skip
        self._wait_for_nodes(1)
        self.complete()

    def __exit__(self, *_: object) -> None:
        for node in self._nodes:
            _end(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def roots(self) -> list[int]:
        return [node.pid for node in self._nodes]

    def complete(self) -> None:
        """Start nodes in the place of those that were lost."""
        self._nodes = [node for node in self._nodes if node.poll() is None]
        wanted = self._num_nodes + 1
        while len(self._nodes) < wanted:  # one after the other: of two that start at once one takes the other's ports
            self._start(f"--address={self.address}", f"--num-cpus={NODE_CPUS}")
            self._wait_for_nodes(len(self._nodes))

    def worker(self, title: str) -> psutil.Process | None:
        """A worker of any node by its title."""
        return next(filter(None, (find(root, title) for root in self.roots[1:])), None)

    def lose_node_of(self, worker: psutil.Process) -> None:
        """Kill a worker's whole node at once, as when a machine loses its power."""
        _end(self._node_of(worker))

    def preempt_node_of(self, worker: psutil.Process, notice_s: int) -> None:
        """Tell Ray that a worker's node will be taken away, then take it."""
        node = self._node_of(worker)
        subprocess.run(
            [_ray(), "drain-node", f"--address={self.address}", f"--node-id={self._id_of(node)}",
             "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=the spot price rose",
             f"--deadline-remaining-seconds={notice_s}"],
            check=True, capture_output=True, env=environment() | self.settings, timeout=60,
        )  # fmt: skip
        time.sleep(notice_s)
        _end(node)

    # -- private -------------------------------------------------------------------------------------------------

    def _start(self, *arguments: str) -> None:
        settings = QUICK | self.settings | {"RAY_TMPDIR": str(self.folder), "RAY_USAGE_STATS_ENABLED": "0"}
        self._started += 1
        path = self.folder / f"node{self._started}.txt"
        with open(path, "wb") as log:
            node = subprocess.Popen(
                [_ray(), "start", "--block", "--object-store-memory=100000000", "--disable-usage-stats",
                 "--node-ip-address=127.0.0.1", *arguments],
                env=environment() | settings, stdout=log, stderr=log,
            )  # fmt: skip
        self._nodes.append(node)
        self._logs[node.pid] = path

    def _node_of(self, worker: psutil.Process) -> subprocess.Popen[bytes]:
        above = {parent.pid for parent in worker.parents()}
        return next(node for node in self._nodes if node.pid in above)

    def _id_of(self, node: subprocess.Popen[bytes]) -> str:
        raylet = find(node.pid, "raylet/raylet")
        assert raylet is not None
        return next(a.partition("=")[2] for a in raylet.cmdline() if a.startswith(("--node-id=", "--node_id=")))

    def _wait_for_nodes(self, number: int) -> None:
        deadline = time.monotonic() + START_S
        while sum(READY in self._logs[root].read_text() for root in self.roots) < number:
            assert time.monotonic() < deadline, [p.read_text()[-500:] for p in self.folder.glob("node*.txt")]
            ended = [node.args for node in self._nodes if node.poll() is not None]
            assert not ended, (ended, [p.read_text()[-2000:] for p in self.folder.glob("node*.txt")])
            time.sleep(0.1)


def _end(node: subprocess.Popen[bytes]) -> None:
    """Kill a node's processes, all before any of them can notice."""
    if node.poll() is None:
        for process in psutil.Process(node.pid).children(recursive=True):
            try:
                os.kill(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        node.kill()
    node.wait()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _ray() -> str:
    return str(Path(sys.executable).with_name("ray"))
