"""Whether a process is still the one that it was."""

from __future__ import annotations


def start_of(pid: int) -> str | None:
    """Start time of a live process in ticks since boot, None if there is none: a reused pid is not the same process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]
