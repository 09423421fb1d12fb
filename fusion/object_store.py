"""What the protocol asks of an object store beyond whole files: its client, and what is done only under a condition.

S3 and Google's store decide a race themselves (If-None-Match, ifGenerationMatch=0). A store that cannot is refused
where that matters, for two runs would hold one lease.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import fsspec
from fsspec.asyn import sync

from fusion.errors import ConfigError

PINS = {"s3": "s3fs==2026.9.0", "gs": "gcsfs==2026.10.0"}
"""Scheme -> its client, of the version that goes with the lock's fsspec; datasets takes none that is newer."""


def client(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL, and the path on it.

    Raises:
        ConfigError: there is no such scheme, or its package is not installed.
    """
    try:
        # Listings that are remembered would hide what other processes write.
        fs, inner = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        scheme = url.partition("://")[0]
        package = PINS.get(scheme, f"what fsspec needs for {scheme}://")
        raise ConfigError(f"{url}: {error}; type: pip install {package}") from error
    return fs, inner


def create(fs: fsspec.AbstractFileSystem, path: str, data: bytes) -> bool:
    """Write a file if there is none; False if there is. Exactly one of several callers gets True.

    Raises:
        ConfigError: this store cannot promise that.
    """
    if lack := _lack(fs, path):
        raise ConfigError(f"{lack}, so two runs could hold one lease; type: store.path=FOLDER, or s3:// or gs://")
    try:
        fs.pipe_file(path, data, mode="create")
    except FileExistsError:
        return False
    return True


def remove_seen(fs: fsspec.AbstractFileSystem, path: str, seen: Mapping[str, object]) -> None:
    """Remove a file if it is still the one of which `fs.info` said `seen`; a store that cannot compare removes it.

    Raises:
        OSError: it is another by now, or gone.
    """
    if _speaks(fs, "s3"):
        bucket, key, _ = fs.split_path(path)
        fs.call_s3("delete_object", Bucket=bucket, Key=key, IfMatch=seen["ETag"])
    elif _speaks(fs, "gs"):
        bucket, key, _ = fs.split_path(path)
        fs.call("DELETE", "b/{}/o/{}", bucket, key, ifGenerationMatch=seen["generation"])
    else:
        fs.rm_file(path)


def _lack(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """Why a file that is there could be written over by who asks for a new one; empty: it could not."""
    writer = getattr(type(fs), "_pipe_file", type(fs).pipe_file)
    own = writer is not fsspec.AbstractFileSystem.pipe_file and "mode" in inspect.signature(writer).parameters
    if not own:
        return f"the client of {path} ({type(fs).__name__}) cannot write a file only where there is none"
    if _speaks(fs, "gs") and hasattr(fs, "_is_zonal_bucket"):
        bucket, _, _ = fs.split_path(path)
        if sync(fs.loop, fs._is_zonal_bucket, bucket):  # gcsfs 2026.10 takes mode="create" there, and overwrites
            return f"{bucket} is a zonal bucket (Rapid storage), on which gcsfs writes over what is there"
    return ""


def _speaks(fs: fsspec.AbstractFileSystem, scheme: str) -> bool:
    return scheme in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)
