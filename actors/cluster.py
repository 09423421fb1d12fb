"""Joining Ray, or starting one that ends with this process, and keeping its chatter in the log.

Ray's processes are bound to the *thread* that starts them: the kernel kills them when it ends (PR_SET_PDEATHSIG). The
runner starts Ray from whichever job comes first, so a keeper thread of ours starts it and stays until `disconnect`.
After a kill -9 of the driver GCS, raylet and all actors are gone within seconds. A worker process that was just
starting follows after half a minute, two idle agents of Ray's after one, when they have given up telling a driver that
no longer exists; none of these holds a device.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ray
from ray._private.authentication.authentication_utils import is_token_auth_enabled

from actors.head import JOINED_GRACE_S, OWN_GRACE_S, HeadWatch, end_without_head
from fusion.cluster_config import RayConfig
from fusion.errors import ConfigError, EngineError
from fusion.submission.head import Head, admit, probe

START_S = 120.0
JOIN_S = 30.0
PROBE_S = 5.0
WATCH_S = 2.0
CHATTY = ("ray", "ray.data", "ray.train", "ray.tune", "ray.serve")

log = logging.getLogger(__name__)


@dataclass
class Connection:
    """A driver's connection to Ray; `started` says whether it owns the cluster."""

    started: bool
    _end: threading.Event = field(default_factory=threading.Event)
    _keeper: threading.Thread | None = None

    def disconnect(self) -> None:
        """Leave Ray; a cluster that was started here ends, with every process of it."""
        if self._keeper is not None:
            self._end.set()
            self._keeper.join()
            self._keeper = None


def connect(config: RayConfig) -> Connection:
    """Join the Ray at `config.address`, or start one here; a process that is connected already stays as it is.

    Raises:
        ConfigError: no Ray answers at the address within half a minute, or it takes jobs from anybody.
        EngineError: a local Ray did not start within two minutes.
    """
    if ray.is_initialized():
        quiet()
        return Connection(started=False)
    if config.address is not None:
        _probe(config.address)
    connection = Connection(started=config.address is None)
    ready = threading.Event()
    failure: list[Exception] = []

    def keep() -> None:
        try:
            dashboard = _init(config)
            if config.address is not None:
                admit(_head(config.address, dashboard), config.allow_open_head or "", "cluster.ray.allow_open_head={}")
        except Exception as error:
            failure.append(error)
            ray.shutdown()
            return
        finally:
            ready.set()
        head = HeadWatch(ray.get_runtime_context().gcs_address, OWN_GRACE_S if connection.started else JOINED_GRACE_S)
        while not connection._end.wait(WATCH_S):
            if head.is_gone() and not connection._end.is_set():
                end_without_head(head.address)
        ray.shutdown()

    connection._keeper = threading.Thread(target=keep, name="ray keeper", daemon=True)
    allowed_s = START_S if connection.started else JOIN_S
    with _stderr_in_log():
        connection._keeper.start()
        is_ready = ready.wait(allowed_s)
    if not is_ready:
        raise _refusal(config, TimeoutError(f"nothing happened for {allowed_s:.0f} s"))
    if failure and isinstance(failure[0], ConfigError):
        raise failure[0]
    if failure:
        raise _refusal(config, failure[0]) from failure[0]
    quiet()
    return connection


def quiet() -> None:
    """Ray's own messages go to the log of this program instead of the terminal; its workers' stay in Ray's session."""
    import ray._private.worker as ray_worker
    import ray.data  # noqa: F401  its import installs the console handler that is removed below

    for name in CHATTY:
        logger = logging.getLogger(name)
        for handler in list(logger.handlers):
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
        logger.addHandler(logging.NullHandler())
        logger.propagate = name == "ray"  # the others keep whole logs of their own in Ray's session
    # Ray 2.60 prints what raylets report (a worker died, memory is short) whatever `log_to_driver` says.
    ray_worker.print_to_stdstream = _to_log


def _to_log(data: dict[str, object], ignore_prefix: bool) -> None:
    lines = data["lines"]
    assert isinstance(lines, list)
    for line in lines:
        log.info("%s: %s", data["pid"], line)


@contextmanager
def _stderr_in_log() -> Iterator[None]:
    """Descriptor 2 for the time of the block: Ray's native code, while it starts, writes there past `sys.stderr`."""
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                log.info("while Ray started: %s", line)


def _init(config: RayConfig) -> str:
    """Returns host:port of the dashboard, where there is one."""
    # Ray's native code writes its errors to stderr for good, even about ordinary use of Ray Data (ray#53727).
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if config.address is not None:
        found = ray.init(address=config.address, log_to_driver=False, logging_level=logging.ERROR)
        return found.dashboard_url or ""
    # Read by Ray's own processes when they start: no usage report leaves the machine, and hidden devices stay hidden.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    token = Path("~/.ray/auth_token").expanduser()
    had_token = token.exists()
    ray.init(
        address="local",
        num_cpus=config.num_cpus,
        num_gpus=config.num_gpus,
        object_store_memory=int(config.object_store_gib * 2**30),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=config.temp_dir,
        _metrics_export_port=config.metrics_port,
    )
    if not had_token and token.exists():
        token.chmod(0o600)  # Ray makes one at its first start, and lets everybody read it
    return ""


def _head(address: str, dashboard: str) -> Head:
    """The head that was joined. One without a dashboard let us in: it is open if we showed no token."""
    if dashboard:
        return probe(f"http://{dashboard}")
    gcs = ray.get_runtime_context().gcs_address if address == "auto" else address
    return Head(f"gcs://{gcs}", not is_token_auth_enabled(), ray.__version__)


def _probe(address: str) -> None:
    """A head that is not there is known at once; Ray itself would try for a minute and then abort the process."""
    if address == "auto":
        found = [os.environ.get("RAY_ADDRESS", ""), *ray._private.services.find_gcs_addresses()]
        address = next(filter(None, found), "")
        if not address:
            raise ConfigError(f"cluster.ray.address is auto, but no Ray runs on this machine; {_REMEDY}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"cluster.ray.address is {address}; expected null, auto or host:port")
    try:
        socket.create_connection((host, int(port)), timeout=PROBE_S).close()
    except OSError as error:
        raise ConfigError(f"cluster.ray.address is {address}, but nobody answers ({error}); {_REMEDY}") from error


def _refusal(config: RayConfig, error: Exception) -> Exception:
    if config.address is None:
        return EngineError(f"Ray did not start: {error}; its logs are in {_logs(config)}")
    return ConfigError(f"cluster.ray.address is {config.address}, but joining it failed: {error}; {_REMEDY}")


def _logs(config: RayConfig) -> str:
    return f"{config.temp_dir or ray._common.utils.get_default_ray_temp_dir()}/session_latest/logs"


_REMEDY = "start one with `ray start --head`, or set cluster.ray.address=null to have one started for this run"
