"""Processes that a script of a cluster started, known by a mark in their environment, which all of them inherit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "FUSION_TEST_MARK"


@dataclass(frozen=True)
class Marked:
    """A script that runs, and how to find what it started."""

    process: subprocess.Popen[str]
    mark: str

    def left(self, wait_s: float) -> list[str]:
        """Command lines of what still lives after `wait_s` at most."""
        deadline = time.monotonic() + wait_s
        while (left := _with(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.3)
        return [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:200] for pid in left]


@contextmanager
def marked(words: Sequence[str], variables: Mapping[str, str], folder: Path) -> Iterator[Marked]:
    """A script in a session of its own; whatever it started ends with the block."""
    mark = uuid.uuid4().hex
    process = subprocess.Popen(
        words, env={**variables, MARK: mark}, cwd=folder, start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Marked(process, mark)
    finally:
        while left := _with(mark):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        process.communicate()


def _with(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            told = (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue  # it left while we looked
        if f"{MARK}={mark}".encode() in told and state not in "ZX":
            found.append(int(entry.name))
    return found
