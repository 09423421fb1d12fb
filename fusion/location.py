"""Files at a location: local disk, NFS, s3:// or gs://, through fsspec, with atomic writes.

`put` never shows a torn file: on a local disk it writes a temporary name and renames, an object store makes a single
put visible whole. `put_new` is the one primitive that decides a race (leases).
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec

from fusion import object_store
from fusion.errors import ArtifactError, FusionError

FULL = (errno.ENOSPC, errno.EDQUOT)
NO_ROOM = 2**16
"""Bytes below which a disk counts as full, when a library failed for a reason that it does not tell."""


def filesystem(path: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL or path, and the path on it.

    Raises:
        ConfigError: the scheme's package is not installed.
    """
    if not is_local(path):
        return object_store.client(path)
    fs, inner = fsspec.core.url_to_fs(path)
    return fs, inner


def is_local(path: str) -> bool:
    """Whether `path` is on a disk (NFS counts) rather than an object store."""
    return "://" not in path or path.startswith("file://")


def local_path(path: str) -> Path:
    """`path` as a `Path`.

    Raises:
        ArtifactError: it lies on an object store; `fusion.transfer` makes copies.
    """
    if not is_local(path):
        raise ArtifactError(f"{path} is not on a disk")
    return Path(path.removeprefix("file://"))


def join(base: str, *names: str) -> str:
    return "/".join([base.rstrip("/"), *names])


def exists(path: str) -> bool:
    fs, inner = filesystem(path)
    return bool(fs.exists(inner))


def get(path: str) -> bytes:
    fs, inner = filesystem(path)
    return bytes(fs.cat_file(inner))


def put(path: str, data: bytes) -> None:
    """Write whole or not at all; durable (fsync) on a disk when it returns.

    Raises:
        ArtifactError: the disk is full.
    """
    if not is_local(path):
        fs, inner = filesystem(path)
        fs.pipe_file(inner, data)
        return
    target = local_path(path)
    with _temporary(target, data) as temporary:
        os.replace(temporary, target)


def put_new(path: str, data: bytes) -> bool:
    """Create `path`; False if it exists already. Exactly one of several callers gets True.

    Raises:
        ArtifactError: the disk is full.
        ConfigError: an object store that cannot promise it.
    """
    if not is_local(path):
        return object_store.create(*filesystem(path), data)
    target = local_path(path)
    with _temporary(target, data) as temporary:
        try:
            os.link(temporary, target)
        except FileExistsError:
            return False
        return True


@contextmanager
def _temporary(target: Path, data: bytes) -> Iterator[Path]:
    """A durable file beside `target`, gone after the block."""
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise ArtifactError(no_space(target)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Errors of libraries that write to `folder`, in words a person can act on where its disk is full.

    torch says of a full disk "unexpected pos 4096 vs 3988", and leaves the half-written file there.

    Raises:
        ArtifactError: the block failed, and there is no room.
    """
    try:
        yield
    except FusionError:
        raise
    except Exception as error:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if getattr(error, "errno", None) in FULL or shutil.disk_usage(there).free < NO_ROOM:
            raise ArtifactError(no_space(folder)) from error
        raise


def no_space(path: Path | str) -> str:
    """What to tell a person whose disk is full."""
    return (
        f"no space is left on the disk of {path}; free some, or set store.path to a folder on another disk. What is "
        "committed is kept, the same command goes on from there"
    )


def names(path: str) -> list[str]:
    """Sorted names in a folder; empty if there is none. Temporary files of `put` are not shown."""
    return sorted(sizes(path))


def sizes(path: str) -> dict[str, int]:
    """Name -> bytes of what is in a folder, as `names`: one listing instead of a question for each."""
    fs, inner = filesystem(path)
    fs.invalidate_cache(inner)
    if not fs.isdir(inner):
        return {}
    found = {str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]: entry["size"] for entry in fs.ls(inner, detail=True)}
    return {name: int(size or 0) for name, size in found.items() if not name.startswith(".")}


def size(path: str) -> int:
    """Bytes, or -1 if there is no such file."""
    fs, inner = filesystem(path)
    return int(fs.size(inner)) if fs.exists(inner) else -1


def remove(path: str) -> None:
    fs, inner = filesystem(path)
    if fs.exists(inner):
        fs.rm(inner, recursive=True)


def remove_if(path: str, data: bytes) -> None:
    """Remove a file if it still holds `data`; what another has put in its place stays.

    S3 and Google's store compare and remove in one step; elsewhere on object stores another's file must come within a
    round trip to be lost. On a disk it is moved away, looked at, and put back.
    """
    fs, inner = filesystem(path)
    try:
        seen = {} if is_local(path) else fs.info(inner)
        if bytes(fs.cat_file(inner)) != data:
            return
        if is_local(path):
            _remove_if(local_path(path), data)
        else:
            object_store.remove_seen(fs, inner, seen)
    except OSError:  # gone, or another's by now
        if exists(path) and get(path) == data:
            raise


def _remove_if(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    os.rename(path, aside)
    try:
        if aside.read_bytes() != data:
            os.link(aside, path)
    finally:
        aside.unlink()
