"""A real head of Ray on loopback, started with `ray start --head` and ended by the process group it was given."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 90.0


@dataclass(frozen=True)
class RayHead:
    """`environment` is what a client of it needs beside the address."""

    url: str
    gcs: str
    folder: Path
    environment: dict[str, str]
    pid: int


@contextmanager
def ray_head(
    *, is_open: bool = False, has_dashboard: bool = True, num_cpus: int = 6, **variables: str
) -> Iterator[RayHead]:
    """A head that checks tokens, or with `is_open` one that does not."""
    folder = Path(tempfile.mkdtemp(prefix="fh", dir="/tmp"))  # short: Ray's sockets lie in it
    token = folder / "token"
    token.write_text(os.urandom(32).hex())
    gcs, dashboard, agent, client = free_ports(4)
    auth = {"RAY_AUTH_MODE": "disabled" if is_open else "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    bin_folder = str(Path(sys.executable).parent)
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "PYTHONPATH")}
    environment |= (
        {"PATH": f"{bin_folder}:{os.environ['PATH']}", "FUSION_HOME": str(folder / "home")} | auth | variables
    )
    process = subprocess.Popen(
        [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats",
            "--node-ip-address=127.0.0.1", f"--port={gcs}", f"--dashboard-port={dashboard}",
            f"--include-dashboard={has_dashboard}", f"--dashboard-agent-listen-port={agent}",
            f"--ray-client-server-port={client}", "--min-worker-port=0",
            "--max-worker-port=0", f"--temp-dir={folder / 'r'}", f"--num-cpus={num_cpus}",
            "--object-store-memory=100000000",
        ],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    url = f"http://127.0.0.1:{dashboard}"
    try:
        if has_dashboard:
            _await(url, process)
        else:
            _await_gcs(gcs, process)
        yield RayHead(url, f"127.0.0.1:{gcs}", folder, {"RAY_AUTH_TOKEN_PATH": str(token)}, process.pid)
    finally:
        end(process, folder)
        shutil.rmtree(folder, ignore_errors=True)


def processes_of(folder: Path) -> list[int]:
    """Live processes that name `folder` in their command line or work in it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace")
            here = os.readlink(entry / "cwd")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if (str(folder) in command or here.startswith(str(folder))) and state not in "ZX":
            found.append(int(entry.name))
    return found


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the head ended with {process.returncode}"
        try:
            urllib.request.urlopen(f"{url}/api/version", timeout=5).close()  # noqa: S310 http
        except urllib.error.HTTPError:
            return  # it wants a token
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"no head at {url} within {START_S} s")


def _await_gcs(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the head ended with {process.returncode}"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"no GCS at port {port} within {START_S} s")


def end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """SIGTERM, as a person would; then whatever of this head's own folder is left.

    Ray's command waits for half a minute for processes that have ended; nobody else has to.
    """
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 5
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.3)
    for pid in left:
        os.kill(pid, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
