"""Folders of files between an object store and this machine's disk.

Tools that load models or write checkpoints need real files. Where the store is on a disk they get its own; where it is
s3:// or gs:// they get a copy, kept by content:

    ~/.cache/fusion/copies/<digest of what the manifest lists>/   models that were read here
    ~/.cache/fusion/scratch/<hash of the place>/                  what is being made here, before it is sent
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

from fusion import location
from fusion.artifact import read_manifest
from fusion.errors import ArtifactError
from fusion.schema import hash_text

CACHE = "~/.cache/fusion"
BLOCK = 16 * 2**20


def scratch(place: str) -> Path:
    """The folder of this machine in which what will lie at `place` is made; `place` itself where that is a disk."""
    if location.is_local(place):
        return location.local_path(place)
    return Path(CACHE).expanduser() / "scratch" / hash_text(place)


def sizes(place: str) -> dict[str, int]:
    """Relative name -> bytes of every file below a folder, sorted; empty if there is none."""
    if location.is_local(place):
        folder = location.local_path(place)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    fs, inner = location.filesystem(place)
    found = fs.find(inner, detail=True)
    return {name[len(inner) :].lstrip("/"): int(entry["size"]) for name, entry in sorted(found.items())}


def sha256(path: str) -> str:
    """Of a file on a disk or an object store, read in blocks."""
    fs, inner = location.filesystem(path)
    digest = hashlib.sha256()
    with fs.open(inner, "rb", block_size=BLOCK) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def send(folder: Path, place: str, since: float = 0.0) -> None:
    """Copy the files of a folder that were changed at `since` (Unix time) or later; does nothing if it is `place`."""
    if location.is_local(place):
        assert location.local_path(place).absolute() == folder.absolute(), (folder, place)
        return
    fs, inner = location.filesystem(place)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.stat().st_mtime >= since:
            fs.put_file(str(path), f"{inner}/{path.relative_to(folder).as_posix()}")


def fetch(place: str, files: Mapping[str, int], folder: Path) -> None:
    """Copy named files into `folder`, which is there whole or not at all.

    Raises:
        ArtifactError: a file is not there, or of another size.
    """
    with _locked(folder):
        if folder.is_dir():
            return
        fs, inner = location.filesystem(place)
        building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            for name, size in files.items():
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    fs.get_file(f"{inner}/{name}", str(building / name))
                except FileNotFoundError as error:
                    raise ArtifactError(f"{place}/{name} is gone") from error
                if (found := (building / name).stat().st_size) != size:
                    raise ArtifactError(f"{place}/{name} has {found} bytes where {size} were written")
            os.rename(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def on_disk(place: str) -> Path:
    """The folder `files` of a sealed folder of files, as real files on this machine; checked by hash when copied.

    Args:
        place: a folder on a disk, which is given back as it is, or STORE/KIND/NAME/files on an object store.

    Raises:
        ArtifactError: it is not sealed, or its content is not what the manifest says.
    """
    if location.is_local(place):
        return location.local_path(place)
    manifest = read_manifest(place.rpartition("/")[0])
    if manifest is None:
        raise ArtifactError(f"{place} belongs to no sealed artifact; run the command that makes it again")
    entries: list[dict[str, object]] = manifest["files"]  # type: ignore[assignment]
    folder = Path(CACHE).expanduser() / "copies" / str(manifest["digest"])[:32]
    if folder.is_dir():
        return folder
    fetch(place, {str(entry["name"]): int(str(entry["bytes"])) for entry in entries}, folder)
    for entry in entries:
        if sha256(str(folder / str(entry["name"]))) != entry["sha256"]:
            shutil.rmtree(folder)
            raise ArtifactError(f"{place}/{entry['name']} is corrupt: its content does not match its sha256")
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process of this machine at a time; the kernel gives the lock back when its holder dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
