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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

from fusion import location
from fusion.artifact import read_manifest
from fusion.errors import ArtifactError
from fusion.schema import hash_text

CACHE = "~/.cache/fusion"
BLOCK = 16 * 2**20
HASHERS = 4


class Listed(TypedDict):
    """A file of a manifest or a marker; `name` is relative to its folder."""

    name: str
    bytes: int
    sha256: str


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


def send(folder: Path, place: str, since: float = 0.0) -> dict[str, int]:
    """Copy the files of a folder that were changed at `since` (Unix time) or later, and name them with their sizes.

    Nothing is copied where the folder is `place`.
    """
    if location.is_local(place):
        assert location.local_path(place).absolute() == folder.absolute(), (folder, place)
        return {}
    fs, inner = location.filesystem(place)
    sent = {name: size for name, size in sizes(str(folder)).items() if (folder / name).stat().st_mtime >= since}
    for name in sent:
        fs.put_file(str(folder / name), f"{inner}/{name}")
    return sent


def listed(place: str, files: Mapping[str, int]) -> list[Listed]:
    """Files below a folder with their hashes, which takes a second a GiB of each of `HASHERS` threads."""
    with ThreadPoolExecutor(HASHERS) as pool:
        hashes = pool.map(lambda name: sha256(location.join(place, name)), files)
        return [Listed(name=n, bytes=b, sha256=h) for (n, b), h in zip(files.items(), hashes, strict=True)]


def digest_of(entries: Iterable[Listed]) -> str:
    """Content hash of a folder of files."""
    return hashlib.sha256("".join(f"{e['name']}:{e['sha256']};" for e in entries).encode()).hexdigest()


def altered(place: str, entries: Sequence[Listed]) -> list[str]:
    """Names of the files whose content is not what was listed."""
    found = listed(place, {entry["name"]: entry["bytes"] for entry in entries})
    return [entry["name"] for entry, now in zip(entries, found, strict=True) if entry["sha256"] != now["sha256"]]


def corrupt(place: str, name: str) -> str:
    """What to tell of an altered file."""
    return f"{place}/{name} is corrupt: its content does not match its sha256"


def fetch(place: str, entries: Sequence[Listed], folder: Path) -> None:
    """Copy listed files into `folder`, which is there whole and verified or not at all.

    Raises:
        ArtifactError: a file is not there, or not what was listed.
    """
    with _locked(folder):
        if folder.is_dir():
            return
        fs, inner = location.filesystem(place)
        building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
        try:
            for entry in entries:
                name, size = entry["name"], entry["bytes"]
                if not (building / name).resolve().is_relative_to(building.resolve()):
                    raise ArtifactError(f"{place} lists {name}, which lies outside of it")
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                try:
                    fs.get_file(f"{inner}/{name}", str(building / name))
                except FileNotFoundError as error:
                    raise ArtifactError(f"{place}/{name} is gone") from error
                if (found := (building / name).stat().st_size) != size:
                    raise ArtifactError(f"{place}/{name} has {found} bytes where {size} were written")
            for name in altered(str(building), entries):
                raise ArtifactError(corrupt(place, name))
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
    entries: list[Listed] = manifest["files"]  # type: ignore[assignment]
    folder = Path(CACHE).expanduser() / "copies" / digest_of(entries)[:32]
    if not folder.is_dir():
        fetch(place, entries, folder)
    return folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process of this machine at a time; the kernel gives the lock back when its holder dies."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{folder.name}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
