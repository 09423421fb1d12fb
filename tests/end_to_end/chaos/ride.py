"""One run of the command line as a process that can be watched, found out and hurt."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType

import psutil
import pyarrow.parquet as pq

from tests.end_to_end.pico import EXACT, FINE, command, environment, hear_ctrl_c

TICK_S = 0.01
LIMIT_S = 500.0
EMPTY: Mapping[str, str] = MappingProxyType({})


class MissedError(Exception):
    """The run ended before the moment at which it was to be disturbed."""


class Ride:
    """A run that goes on until it ends or is killed; leaving the block kills it.

    Args:
        settings: further environment.
        generator: overrides that choose it.
    """

    def __init__(
        self, workspace: Path, name: str, store: Path, *more: str, settings: Mapping[str, str] = EMPTY,
        generator: tuple[str, ...] = EXACT,
    ) -> None:  # fmt: skip
        self.store = store
        self.folder = workspace / "runs" / name
        self.output = workspace / f"{name}.txt"
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                command(workspace, f"name={name}", f"store.path={store}", *generator, *FINE, *more),
                cwd=workspace, env=environment() | settings, stdout=output, stderr=subprocess.STDOUT,
                preexec_fn=hear_ctrl_c,
            )  # fmt: skip

    def __enter__(self) -> Ride:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait_for(self, ready: Callable[[], object], what: str) -> None:
        """Raises:
        MissedError: the run ended first.
        """
        deadline = time.monotonic() + LIMIT_S
        while not ready():
            if self.process.poll() is not None:
                raise MissedError(f"the run ended ({self.process.returncode}) before {what}: {self.tail()}")
            assert time.monotonic() < deadline, f"never saw {what}: {self.tail()}"
            time.sleep(TICK_S)

    def ended(self) -> int:
        """Its exit code, once it ends."""
        return self.process.wait(LIMIT_S)

    def tail(self) -> str:
        log = self.folder / "log.txt"
        return self.output.read_text()[-2000:] + (log.read_text()[-2000:] if log.exists() else "")


def find(root: int, title: str) -> psutil.Process | None:
    """A descendant of `root` whose command line contains `title`; Ray names its workers after what they host."""
    try:
        children = psutil.Process(root).children(recursive=True)
    except psutil.NoSuchProcess:
        return None
    for child in children:
        try:
            if title in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                return child
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return None


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def rows_there(store: Path) -> dict[str, int]:
    """Rows committed, by artifact folder of responses; a part that is being replaced does not count."""
    found: dict[str, int] = {}
    for part in store.glob("responses/*/parts/*.parquet"):
        folder = str(part.parents[1].relative_to(store))
        found[folder] = found.get(folder, 0) + pq.read_metadata(part).num_rows
    return found
