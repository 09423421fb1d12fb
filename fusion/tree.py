"""An artifact that is a folder of files: a checkpoint. Same protocol: files first, the manifest last.

store/checkpoint/<label>-<fingerprint>/
    files/          the model as any tool reads it (safetensors, tokenizer, config)
    work/           what the step keeps to resume from (training checkpoints); removed by the seal
    manifest.json   every file with its size and sha256
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fusion import location
from fusion.artifact import read_manifest, write_json
from fusion.errors import ArtifactError

VERIFY_BYTES = 4 * 2**30
"""Folders up to this size are hashed again before they are taken as done (about a second a GiB)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TreeArtifact:
    """A sealed folder of files."""

    path: str
    manifest: Mapping[str, object]

    @property
    def files(self) -> Path:
        """The folder that `from_pretrained` takes."""
        return location.local_path(location.join(self.path, "files"))

    @property
    def digest(self) -> str:
        """Content hash over all files."""
        return str(self.manifest["digest"])

    def damage(self) -> str | None:
        """What is wrong with the content, or None. Above `VERIFY_BYTES` only sizes were checked, when it was opened."""
        entries = self.manifest["files"]
        if sum(entry["bytes"] for entry in entries) > VERIFY_BYTES:  # type: ignore[attr-defined]
            return None
        for entry in entries:  # type: ignore[attr-defined]
            if file_sha256(self.files / entry["name"]) != entry["sha256"]:
                return f"{self.files / entry['name']} is corrupt: its content does not match its sha256"
        return None


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

    @property
    def files(self) -> Path:
        return location.local_path(location.join(self.path, "files"))

    @property
    def work(self) -> Path:
        return location.local_path(location.join(self.path, "work"))

    def seal(self, header: Mapping[str, object]) -> TreeArtifact:
        """Hash every file and write the manifest.

        Raises:
            ArtifactError: there are no files, or the lease is lost.
        """
        self.check_lease()
        listed = {str(p.relative_to(self.files)): p for p in sorted(self.files.rglob("*")) if p.is_file()}
        if not listed:
            raise ArtifactError(f"{self.files} is empty: the step wrote no files")
        entries = [{"name": n, "bytes": p.stat().st_size, "sha256": file_sha256(p)} for n, p in listed.items()]
        digest = hashlib.sha256("".join(f"{e['name']}:{e['sha256']};" for e in entries).encode()).hexdigest()
        accounts = {
            "rows_in": self.rows_in,
            "rows_out": self.rows_in - sum(self.dropped.values()),
            "dropped": self.dropped,
            "failed": {},
        }
        manifest = {**header, "files": entries, "digest": digest, "metrics": self.metrics, "accounts": accounts}
        write_json(location.join(self.path, "manifest.json"), manifest)
        location.remove(location.join(self.path, "work"))
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


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
