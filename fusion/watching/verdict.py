"""Whether a run that says it runs still does."""

from __future__ import annotations

import socket
from enum import StrEnum

from fusion.process import start_of
from fusion.watching.state import RunState

QUIET_S = 20.0
"""A run gives a sign every five seconds; a busy disk may keep some of them back."""


class Verdict(StrEnum):
    """What a run is, seen from here."""

    RUNNING = "running"
    SILENT = "silent"
    """No sign for long; its process is there, or on a machine that cannot be looked at from here."""
    KILLED = "killed"
    """No sign for long, and its process is gone from this machine."""
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


def verdict(state: RunState, now: float) -> Verdict:
    """`now`: seconds since 1970."""
    if state.status != "running":
        return Verdict(state.status)
    if now - state.sign <= QUIET_S:
        return Verdict.RUNNING
    if state.host == socket.gethostname() and start_of(state.pid) != state.start:
        return Verdict.KILLED
    return Verdict.SILENT
