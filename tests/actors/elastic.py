"""A head of Ray without workers whose autoscaler starts real nodes on this machine, as a cloud would, and ends them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.ray_head import free_ports, processes_of

ROOT = Path(__file__).parents[2]
START_S = 90.0
PATIENT = {"RAY_raylet_start_wait_time_s": "120"}
"""A busy machine is slow to start nodes."""
IDLE_MINUTES = 0.1
HEAD = "ray.head.default"
EMPTY_LISTS = (
    "initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands",
    "head_start_ray_commands", "worker_start_ray_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter",
)  # fmt: skip
"""What a cluster's file must have and this one has no use for."""


@dataclass(frozen=True)
class ElasticHead:
    """`settings` is what whoever joins needs in its environment."""

    address: str
    folder: Path
    settings: dict[str, str]


@contextmanager
def elastic_head(node_types: Mapping[str, Mapping[str, float]], max_nodes: int = 4) -> Iterator[ElasticHead]:
    """A head with no CPU. `node_types`: name -> resources; their GPUs exist in Ray's books only.

    Ray's own `AutoscalingCluster` begins with `ray stop --force`, which would end every other Ray of this machine.
    """
    folder = Path(tempfile.mkdtemp(prefix="fa", dir="/tmp"))  # short: Ray's sockets lie in it
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    (folder / "token").write_text(secrets.token_hex(32))
    (folder / "cluster.json").write_text(json.dumps(_config(address, node_types, max_nodes)))
    settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"} | {"PYTHONPATH": str(ROOT)}
    environment |= {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1", "RAY_TMPDIR": str(folder)} | PATIENT
    with open(folder / "head.txt", "wb") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats",
                "--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false", "--num-cpus=0",
                f"--temp-dir={folder}", "--object-store-memory=100000000",
                f"--autoscaling-config={folder / 'cluster.json'}",
            ],
            env=environment | settings, cwd=folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        _await(folder, process)
        yield ElasticHead(address, folder, settings)
    finally:
        _end(process, folder)
        shutil.rmtree(folder, ignore_errors=True)


def _config(address: str, node_types: Mapping[str, Mapping[str, float]], max_nodes: int) -> dict[str, object]:
    types: dict[str, object] = {
        name: {
            "resources": {"object_store_memory": 100_000_000, **resources},
            "node_config": {}, "min_workers": 0, "max_workers": max_nodes,
        }
        for name, resources in node_types.items()
    }  # fmt: skip
    return {
        "cluster_name": "elastic",
        "max_workers": max_nodes,
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": IDLE_MINUTES,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "use_node_id_as_ip": True,  # all nodes share one address, by which the autoscaler else knows them
            "launch_multiple": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": HEAD,
        "available_node_types": types | {HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}},
        "auth": {}, "docker": {}, "file_mounts": {}, "file_mounts_sync_continuously": False,
    } | {name: [] for name in EMPTY_LISTS}  # fmt: skip


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Kill all that it started, until nothing is: it has nothing to save."""
    process.kill()
    process.wait()
    while left := processes_of(folder):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)


def _await(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the monitor runs: it is the last that the head starts."""
    deadline = time.monotonic() + START_S
    while not any(b"monitor.py" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in processes_of(folder)):
        assert process.poll() is None, (folder / "head.txt").read_text()[-2000:]
        assert time.monotonic() < deadline, f"no monitor within {START_S} s"
        time.sleep(0.3)
