"""Fixtures that several areas share."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator

import pytest

from fusion.cluster_config import RayConfig
from fusion.runtime import Runtime


@pytest.fixture(scope="module")
def ray_runtime() -> Iterator[Runtime]:
    """A runtime on a Ray of its own, which ends with the module."""
    from actors.runtime import RayRuntime

    folder = tempfile.mkdtemp(prefix="fr", dir="/tmp")  # short: sockets lie in it
    runtime = RayRuntime(RayConfig(temp_dir=folder, num_gpus=2))
    yield runtime
    runtime.close()
    shutil.rmtree(folder, ignore_errors=True)
