"""A model's files on this machine: downloaded or converted once, kept by content, checked before use.

cache/<name>-<key>/          what `from_pretrained` takes; there only when it is complete
cache/.<name>-<key>.lock     held while it is built: a second process waits instead of building again
cache/.<name>-<key>.tmp/     being built; a killed build leaves it and the next one starts by removing it
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.models import ModelRef, model_folder, resolve
from fusion.schema import hash_text

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

CONVERSION = "1"
"""Raised when a conversion would write other weights or another tokenizer."""


DEFAULT_CACHE = "~/.cache/fusion/models"


def prepare(ref: ModelRef, cache: Path) -> Path:
    """The folder with the model's config, safetensors and tokenizer.

    Args:
        ref: the model; its revision must be complete (`fusion.models.resolve`).
        cache: folder shared by all runs on this machine.

    Raises:
        ConfigError: not pinned, not installed, not the content it is pinned to, or a hub that cannot be reached.
    """
    if "://" not in ref.uri or ref.uri.startswith("file://"):
        return model_folder(ref.uri)
    resolve(ref)
    cache = cache.expanduser()
    label = ref.uri.rsplit("/", 1)[-1].split(".")[0].lower()
    name = f"{label}-{hash_text(ref.uri, ref.revision, CONVERSION, length=12)}"
    target = cache / name
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f".{name}.lock"):
        if target.is_dir():
            return target
        building = cache / f".{name}.tmp"
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        try:
            _build(ref, building)
            _sync(building)
            os.rename(building, target)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return target


def package_files(uri: str) -> list[Path]:
    """The files that a `pypi://` uri names, found in installed packages without importing them.

    Raises:
        ConfigError: a package is not installed, or has no such file.
    """
    files: list[Path] = []
    package = ""
    for piece in uri.split("+"):
        inner = piece
        if piece.startswith("pypi://"):
            package, _, inner = piece.removeprefix("pypi://").partition("/")
        module = package.replace("-", "_")
        spec = importlib.util.find_spec(module)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigError(f"{uri}: the package is not installed; type: pip install {package.replace('_', '-')}")
        file = Path(spec.submodule_search_locations[0]) / inner
        if not file.is_file():
            raise ConfigError(f"{uri}: {file} does not exist; another version of {package} may be installed")
        files.append(file)
    return files


def _build(ref: ModelRef, folder: Path) -> None:
    if ref.uri.startswith("hf://"):
        _download(ref, folder)
        return
    from fusion.gguf import convert

    files = package_files(ref.uri)
    _verify(ref, files)
    joined = files[0] if len(files) == 1 else _join(files, folder / "joined.gguf")
    convert(joined, folder)
    if len(files) > 1:
        joined.unlink()


def _verify(ref: ModelRef, files: list[Path]) -> None:
    digest = hashlib.sha256()
    for file in files:
        _feed(digest, file)
    if digest.hexdigest() != ref.revision:
        raise ConfigError(
            f"model {ref.uri}: expected sha256 {ref.revision}, got {digest.hexdigest()}; the installed package holds "
            "other content: reinstall it, or set the revision if you trust this file"
        )


def _join(files: list[Path], target: Path) -> Path:
    with open(target, "wb") as out:
        for file in files:
            with open(file, "rb") as part:
                shutil.copyfileobj(part, out, 1 << 22)
    return target


def _download(ref: ModelRef, folder: Path) -> None:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.hf_api import RepoFile

    name = ref.uri.removeprefix("hf://")
    patterns = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt", "*.py"]
    try:
        # Never *.bin or *.pt: unpickling runs code.
        snapshot_download(name, revision=ref.revision, local_dir=folder, allow_patterns=patterns)
        tree = HfApi().list_repo_tree(name, recursive=True, revision=ref.revision)
        listed = {one.path: one for one in tree if isinstance(one, RepoFile)}
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model {ref.uri} at {ref.revision} could not be downloaded: {type(error).__name__}: {error}; check the "
            "name, the network and HF_TOKEN, or set model.uri to a local folder"
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        told = listed.get(file.relative_to(folder).as_posix())
        if told is None or not _is_content(file, told):
            raise ConfigError(
                f"model {ref.uri} at {ref.revision}: {file.relative_to(folder)} is not the file that the hub lists, "
                "for its hash differs; run the same command again, which downloads it anew"
            )
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ConfigError(f"model {ref.uri} holds no config.json or no safetensors file, which is all that is loaded")


def _is_content(file: Path, told: RepoFile) -> bool:
    """Whether a file is what the hub lists: by sha256 where it is stored by LFS, by git's hash elsewhere."""
    digest = hashlib.sha256() if told.lfs is not None else hashlib.sha1(b"blob %d\0" % file.stat().st_size)  # noqa: S324 git's own
    _feed(digest, file)
    return digest.hexdigest() == (told.lfs.sha256 if told.lfs is not None else told.blob_id)


def _feed(digest: hashlib._Hash, file: Path) -> None:
    with open(file, "rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """An advisory lock that the kernel gives back when its holder dies."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync(folder: Path) -> None:
    for path in [*sorted(folder.rglob("*")), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
