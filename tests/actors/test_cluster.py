"""Starting, joining and leaving Ray."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fusion.cluster_config import RayConfig
from fusion.errors import ConfigError
from tests.end_to_end.ray_head import RayHead, ray_head
from tests.workers import is_alive, sessions, written

ROOT = Path(__file__).parents[2]


@pytest.fixture
def short() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fc", dir="/tmp"))  # short: Ray's sockets lie in it
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def drive(folder: Path, how: str, output: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.actors.lone_driver", str(folder), how]
    return subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)  # type: ignore[call-overload, no-any-return]


def processes_of(folder: Path) -> list[str]:
    """Command lines of live processes that name `folder`: GCS, raylet, log monitor and the like."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(folder / "r") in command and is_alive(int(entry.name)):
            found.append(command)
    return found


def until(is_so: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {limit_s} s"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_that_ends_leaves_no_process_and_no_chatter(short: Path) -> None:
    with open(short / "terminal", "wb") as terminal:
        ended = drive(short, "end", terminal).wait(240)
    assert (ended, (short / "terminal").read_text()) == (0, "")
    assert written(str(short / "map" / "out")) == written(str(short / "stream" / "out")) == {0, 1, 2}
    assert processes_of(short) == []


@pytest.mark.slow
def test_kill_9_of_the_driver_ends_its_ray(short: Path) -> None:
    with open(short / "terminal", "wb") as terminal:
        driver = drive(short, "wait", terminal)
        until(lambda: (short / "ready").exists(), 120)
    workers = [pid for kind in ("map", "stream") for pid, _ in sessions(str(short / kind / "out"))]
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    until(lambda: not any(is_alive(pid) for pid in workers), 15)
    until(lambda: not processes_of(short), 60)  # a worker process that was just starting takes Ray half a minute


def test_a_head_that_is_not_there_is_refused_at_once_with_what_to_type() -> None:
    from actors.cluster import connect

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ConfigError, match=f"cluster.ray.address is 127.0.0.1:{port}.*ray start --head"):
        connect(RayConfig(address=f"127.0.0.1:{port}"))
    assert time.monotonic() - started < 10


def test_an_address_that_is_none_is_refused() -> None:
    from actors.cluster import connect

    with pytest.raises(ConfigError, match="expected null, auto or host:port"):
        connect(RayConfig(address="my-cluster"))


@pytest.mark.slow
def test_something_that_listens_but_is_no_ray_is_refused() -> None:
    """In a process of its own, as Ray goes on trying in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code = f"from actors.cluster import *; connect(RayConfig(address={address!r}))"
        ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert b"ConfigError: cluster.ray.address is " + address.encode() in ended.stderr
    assert b"ray start --head" in ended.stderr


def test_ray_client_addresses_are_refused_with_the_way_to_go() -> None:
    with pytest.raises(ConfigError, match="ray job submit"):
        RayConfig(address="ray://head:10001")


def test_a_temporary_folder_too_long_for_sockets_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 40 characters"):
        RayConfig(temp_dir="/tmp/" + "x" * 60)


def join(head: RayHead, auth: str, **settings: str) -> str:
    """What a driver that joins it in a process of its own says to stderr."""
    code = "import sys; from actors.cluster import *; connect(RayConfig(address=sys.argv[1], **eval(sys.argv[2])))"
    words = [sys.executable, "-c", code, head.gcs, repr(settings)]
    variables = os.environ | head.environment | {"RAY_AUTH_MODE": auth}
    return subprocess.run(words, env=variables, capture_output=True, text=True, timeout=120).stderr


def test_a_head_that_takes_jobs_from_anybody_is_not_joined_unless_it_is_named() -> None:
    with ray_head(is_open=True, num_cpus=1) as head:
        name = head.url.removeprefix("http://")
        refused = join(head, "disabled")
        assert f"ConfigError: the head at {head.url} takes jobs without a token" in refused
        assert f"cluster.ray.allow_open_head={name}" in refused
        assert "Error" not in join(head, "disabled", allow_open_head=name)


def test_a_head_without_a_dashboard_is_open_if_no_token_was_shown() -> None:
    with ray_head(is_open=True, has_dashboard=False, num_cpus=1) as head:
        refused = join(head, "disabled")
        assert f"ConfigError: the head at gcs://{head.gcs} takes jobs without a token" in refused
        assert f"cluster.ray.allow_open_head={head.gcs}" in refused
        assert "Error" not in join(head, "disabled", allow_open_head=head.gcs)


@pytest.mark.slow
def test_a_head_without_a_dashboard_that_wants_a_token_is_joined_with_it() -> None:
    with ray_head(has_dashboard=False, num_cpus=1) as head:
        assert "Error" not in join(head, "token")


def test_a_token_that_ray_makes_is_readable_by_its_user_only(tmp_path: Path) -> None:
    code = "from actors.cluster import *; connect(RayConfig(num_cpus=1)).disconnect()"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    subprocess.run([sys.executable, "-c", code], env=variables | {"HOME": str(tmp_path)}, check=True, timeout=120)
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
