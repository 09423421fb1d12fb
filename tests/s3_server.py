"""A real S3 server on loopback: moto's, in a process of its own, so that no Python object is shared with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

BUCKET = "fusion-test"


def needs_s3() -> None:
    """Skip where the client or the server is not installed.

    The server is looked for and not imported: the proxies of its web framework raise when vLLM looks at all objects.
    """
    pytest.importorskip("s3fs", reason="s3fs, which s3:// needs, is not installed")
    if find_spec("moto") is None:
        pytest.skip("moto[server], which serves S3 for tests, is not installed")


@contextmanager
def s3_server() -> Iterator[Mapping[str, str]]:
    """Environment variables that lead s3:// to a fresh server with an empty bucket `BUCKET`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    variables = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        # This server has no checksums in trailers.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
    }
    try:
        _await(variables["AWS_ENDPOINT_URL"], process)
        make = f"import s3fs; s3fs.S3FileSystem().mkdir({BUCKET!r})"
        subprocess.run([sys.executable, "-c", make], env=os.environ | variables, check=True)
        yield variables
    finally:
        process.terminate()
        process.wait(20)
        _forget()


def _forget() -> None:
    """fsspec keeps the client of a scheme for the process: the next server's tests would ask this one's port."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "moto's server ended"
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 http
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("moto's server did not answer within a minute")
