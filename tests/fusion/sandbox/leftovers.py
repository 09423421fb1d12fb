"""Finds the processes of a test's sandboxes, from outside: their limits stand in their command lines."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fusion.sandbox.launch import MIB

MEMORY_MIB = 300 + os.getpid() % 600
"""An address space that no other sandbox on this machine is likely to have."""


def mark_of(memory_mib: int) -> str:
    return f'"RLIMIT_AS": {memory_mib * MIB},'


def processes(mark: str = mark_of(MEMORY_MIB)) -> list[str]:
    """Command lines of living processes with those limits, the sandboxes' own bwrap included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if mark.encode() in line:
            found.append(line.decode(errors="replace"))
    return found


def settles_at(count: int, mark: str = mark_of(MEMORY_MIB), limit_s: float = 20.0) -> bool:
    """Whether the number of those processes becomes `count`; a killed namespace takes a moment to be gone."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if len(processes(mark)) == count:
            return True
        time.sleep(0.05)
    return False
