"""Whether the memory of GPUs is back, and who holds it if not: what `nvidia-smi` on their machine says."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

QUERY_S = 20.0
CHECK_S = 1.0
MEMORY = "--query-gpu=index,uuid,memory.used,memory.total"
PROCESSES = "--query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory"

log = logging.getLogger(__name__)

Probe = Callable[[Sequence[str]], tuple[str, str] | None]
"""Devices -> (what MEMORY says of them, what PROCESSES says), as CSV in MiB; None: this machine cannot tell."""


@dataclass(frozen=True)
class Device:
    """A GPU and what of its memory is taken, in MiB."""

    index: str
    uuid: str
    used_mib: int
    total_mib: int


@dataclass(frozen=True)
class Holder:
    """A process with memory on a GPU; `mib` None: the driver does not say how much."""

    uuid: str
    pid: int
    name: str
    mib: int | None

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.name}{'' if self.mib is None else f', {self.mib:,} MiB'})"


def nvidia_smi(devices: Sequence[str]) -> tuple[str, str] | None:
    """A `Probe`: asks the driver of this machine.

    Args:
        devices: indices or UUIDs.
    """
    if not devices or shutil.which("nvidia-smi") is None:
        return None
    told = []
    for query in (MEMORY, PROCESSES):
        command = ["nvidia-smi", f"--id={','.join(devices)}", query, "--format=csv,noheader,nounits"]
        try:
            told.append(subprocess.run(command, capture_output=True, text=True, timeout=QUERY_S, check=True).stdout)
        except (OSError, subprocess.SubprocessError) as error:
            log.warning("who holds GPUs %s is not known: %s", ", ".join(devices), error)
            return None
    return told[0], told[1]


def read_devices(text: str) -> list[Device]:
    """Lines of MEMORY; devices that keep no account of their memory ("[N/A]") are left out."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    return [
        Device(index, uuid, int(used), int(total))
        for index, uuid, used, total in rows
        if used.isdigit() and total.isdigit()
    ]


def read_holders(text: str) -> list[Holder]:
    """Lines of PROCESSES; a name may hold commas, and what it holds may be "[N/A]" in a container."""
    found = []
    for line in filter(str.strip, text.splitlines()):
        uuid, pid, rest = (cell.strip() for cell in line.split(",", 2))
        name, _, mib = rest.rpartition(",")
        mib = mib.strip()
        found.append(Holder(uuid, int(pid), name.strip(), int(mib) if mib.isdigit() else None))
    return found


def taken(devices: Sequence[str], share: float, timeout_s: float, probe: Probe = nvidia_smi) -> str:
    """Which of `devices` have less than `share` of their memory free, and who holds it, after waiting for it to come
    back; empty if none, or if this machine cannot tell."""
    deadline = time.monotonic() + timeout_s
    while True:
        told = probe(devices)
        if told is None:
            return ""
        full = [one for one in read_devices(told[0]) if one.used_mib > (1.0 - share) * one.total_mib]
        if not full:
            return ""
        if time.monotonic() > deadline:
            holders = read_holders(told[1])
            return "; ".join(_account(one, holders) for one in full)
        time.sleep(CHECK_S)


def _account(device: Device, holders: Sequence[Holder]) -> str:
    by = ", ".join(str(holder) for holder in holders if holder.uuid == device.uuid)
    whom = by or "no process that nvidia-smi shows here (another container?)"
    return f"GPU {device.index} has {device.used_mib:,} of {device.total_mib:,} MiB taken by {whom}"
