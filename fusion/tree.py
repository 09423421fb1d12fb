"""An artifact that is a folder of files: a checkpoint. Same protocol: files first, the manifest last.

store/checkpoint/<label>-<fingerprint>/
    files/          the model as any tool reads it (safetensors, tokenizer, config)
    work/           what the step keeps to resume from (training checkpoints); removed by the seal
    manifest.json   every file with its size and sha256
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fusion import location
from fusion.artifact import read_manifest, write_json
from fusion.errors import ArtifactError
from fusion.transfer import Listed, altered, corrupt, digest_of, listed, on_disk, scratch, send, sha256, sizes

VERIFY_BYTES = 4 * 2**30
"""Folders up to this size are hashed again before they are taken as done (about a second a GiB)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TreeArtifact:
    """A sealed folder of files."""

    path: str
    manifest: Mapping[str, object]

    @property
    def place(self) -> str:
        """Where the files lie, for every machine: an absolute path or a URL; `fusion.transfer.on_disk` reads it."""
        return _absolute(location.join(self.path, "files"))

    @property
    def files(self) -> Path:
        """The folder that `from_pretrained` takes, on this machine."""
        return on_disk(self.place)

    @property
    def digest(self) -> str:
        """Content hash over all files."""
        return str(self.manifest["digest"])

    def damage(self) -> str | None:
        """What is wrong with the content, or None. Above `VERIFY_BYTES` only sizes were checked, when it was opened."""
        entries: list[Listed] = self.manifest["files"]  # type: ignore[assignment]
        if sum(entry["bytes"] for entry in entries) > VERIFY_BYTES:
            return None
        names = altered(self.place, entries)
        return corrupt(self.place, names[0]) if names else None


@dataclass
class TreeWriter:
    """The driver's end of a folder of files being made.

    `metrics` (numbers and short lists, e.g. a loss curve) and `accounts` are stored in the manifest.
    """

    path: str
    check_lease: Callable[[], None] = lambda: None
    metrics: dict[str, object] = field(default_factory=dict)
    rows_in: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not location.is_local(self.path):
            shutil.rmtree(self.files, ignore_errors=True)  # what an earlier attempt left on this machine

    @property
    def place(self) -> str:
        """Where the files will lie, for every machine: an absolute path or a URL."""
        return _absolute(location.join(self.path, "files"))

    @property
    def work_place(self) -> str:
        """What the step keeps to resume from, as `place`."""
        return _absolute(location.join(self.path, "work"))

    @property
    def files(self) -> Path:
        """A folder of this machine for the files; `seal` sends it to `place` if that is on an object store."""
        return scratch(self.place)

    @property
    def work(self) -> Path:
        """As `files`, and never sent."""
        return scratch(self.work_place)

    def seal(self, header: Mapping[str, object]) -> TreeArtifact:
        """Hash every file and write the manifest.

        Raises:
            ArtifactError: there are no files, or the lease is lost.
        """
        self.check_lease()
        send(self.files, self.place)
        entries = listed(self.place, sizes(self.place))
        if not entries:
            raise ArtifactError(f"{self.place} is empty: the step wrote no files")
        accounts = {
            "rows_in": self.rows_in,
            "rows_out": self.rows_in - sum(self.dropped.values()),
            "dropped": self.dropped,
            "failed": {},
        }
        manifest = {
            **header,
            "files": entries,
            "digest": digest_of(entries),
            "metrics": self.metrics,
            "accounts": accounts,
        }
        write_json(location.join(self.path, "manifest.json"), manifest)
        location.remove(location.join(self.path, "work"))
        if not location.is_local(self.path):
            for folder in (self.files, self.work):
                shutil.rmtree(folder, ignore_errors=True)
        return TreeArtifact(self.path, manifest)

    def close(self, how: str) -> None:
        """Nothing streams from a folder of files."""


def open_tree(path: str) -> TreeArtifact | None:
    """The sealed folder at `path`, or None if it is not sealed or a listed file is missing or of another size."""
    manifest = read_manifest(path)
    if manifest is None:
        return None
    for entry in manifest["files"]:  # type: ignore[attr-defined]
        if location.size(location.join(path, "files", entry["name"])) != entry["bytes"]:
            log.warning("%s: file %s is missing or torn; the step is done again", path, entry["name"])
            return None
    return TreeArtifact(path, manifest)


def _absolute(place: str) -> str:
    """Workers run in other folders."""
    return str(location.local_path(place).absolute()) if location.is_local(place) else place


def file_sha256(path: Path) -> str:
    """Of one file on a disk."""
    return sha256(str(path))
