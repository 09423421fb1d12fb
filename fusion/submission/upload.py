"""What travels to the cluster with a job: an explicit list of small files, printed with its size, and their hashes.

The list is made, not left over: the program (`fusion/`, `actors/`, `conf/`), the folder of `--config-dir`, and what the
user names with `--with`. Stores, runs, environments, `.git` and data never travel, because nobody named them.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fusion.errors import ConfigError
from fusion.hygiene.credentials import credentials

LIMIT_BYTES = 20 * 2**20
"""Most that may travel. Ray refuses 100 MiB; a list that is near it holds something that belongs in a store."""
PROGRAM = {
    "fusion": (".py", ".jinja", ".html", ".css", ".js"),
    "actors": (".py",),
    "conf": (".py", ".yaml", ".jinja"),
}
"""Packages of the program, and the endings of their files."""
MANIFEST = "upload.json"
"""name -> sha256 of every file, beside them."""
OWN_CONFIG = "own_conf"
"""Where the folder of `--config-dir` lies on the cluster."""
OWN_ENDINGS = (".yaml", ".yml", ".jinja")


@dataclass(frozen=True, slots=True)
class Upload:
    """File name on the cluster -> where it is here."""

    files: Mapping[str, Path]

    @property
    def num_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files.values())

    @property
    def lines(self) -> list[str]:
        """`fusion/  182 files  812 KiB`, one line a folder, and the sum."""
        sizes: dict[str, list[int]] = {}
        for name, path in self.files.items():
            head = PurePosixPath(name).parts[0]
            sizes.setdefault(head if head == name else f"{head}/", []).append(path.stat().st_size)
        rows = [(name, len(each), sum(each)) for name, each in sorted(sizes.items())]
        rows.append(("upload", len(self.files), self.num_bytes))
        return [f"{name:<12} {number:>4} files {size / 1024:>8,.0f} KiB" for name, number, size in rows]


def collect(root: Path, config_dir: Path | None, extra: Sequence[str], cwd: Path) -> Upload:
    """The list.

    Args:
        root: the folder that holds the packages of the program.
        config_dir: a folder of yaml files of one's own, or None.
        extra: files and folders that the run reads, relative to `cwd`; on the cluster they lie at the same place.

    Raises:
        ConfigError: a file is not there, lies outside `cwd`, holds a credential, or all together are too large.
    """
    files: dict[str, Path] = {}
    for package, endings in PROGRAM.items():
        files |= {f"{package}/{name}": path for name, path in _under(root / package, endings).items()}
    own: dict[str, Path] = {}
    if config_dir is not None:
        own |= {f"{OWN_CONFIG}/{name}": path for name, path in _under(config_dir, OWN_ENDINGS).items()}
    for name in extra:
        own |= _named(name, cwd)
    _refuse_credentials(own)
    upload = Upload(dict(sorted((files | own).items())))
    if upload.num_bytes > LIMIT_BYTES:
        largest = max(own, key=lambda name: own[name].stat().st_size, default="")
        raise ConfigError(
            f"the upload is {upload.num_bytes / 2**20:.0f} MiB, more than {LIMIT_BYTES / 2**20:.0f} (the largest file "
            f"is {largest}); put data where the cluster reads it, e.g. prompts.path=s3://BUCKET/prompts.jsonl"
        )
    return upload


def stage(upload: Upload, folder: Path) -> str:
    """Copy the list into an empty folder with its manifest; returns the manifest's sha256, the name of the upload."""
    for name, path in upload.files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    manifest = json.dumps({name: _sha256(folder / name) for name in upload.files}, indent=0)
    (folder / MANIFEST).write_text(manifest)
    return hashlib.sha256(manifest.encode()).hexdigest()


def verify(folder: Path, digest: str) -> None:
    """That `folder` holds what was sent.

    Raises:
        ConfigError: naming the file that is missing or differs.
    """
    path = folder / MANIFEST
    text = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(text).hexdigest() != digest:
        raise ConfigError(f"{path} is not the list that was sent (sha256 {digest[:12]}...); submit the job again")
    for name, expected in json.loads(text).items():
        file = folder / name
        if not file.is_file() or _sha256(file) != expected:
            raise ConfigError(f"{file} is not the file that was sent: its sha256 differs; submit the job again")


def _under(folder: Path, endings: Sequence[str]) -> dict[str, Path]:
    found = [path for path in folder.rglob("*") if path.suffix in endings and path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in sorted(found)}


def _named(name: str, cwd: Path) -> dict[str, Path]:
    path = (cwd / name).resolve()
    if not path.is_relative_to(cwd.resolve()) or path == cwd.resolve():
        raise ConfigError(f"--with {name}: only what lies below {cwd} can travel; copy it there")
    if not path.exists():
        raise ConfigError(f"--with {name}: there is no such file or folder")
    files = [path] if path.is_file() else [one for one in sorted(path.rglob("*")) if one.is_file()]
    return {file.relative_to(cwd.resolve()).as_posix(): file for file in files}


def _refuse_credentials(files: Mapping[str, Path]) -> None:
    for name, path in files.items():
        for finding in credentials(path.read_text("utf-8", errors="replace")):
            raise ConfigError(
                f"{path} ({name}) holds a {finding.detail}; a job's files are readable by all who reach the cluster. "
                "Put the secret into a file or the environment of the nodes, and its name into the config (key_file, "
                "key_env)"
            )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
