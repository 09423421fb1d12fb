"""The content hash by which files of prompts enter the identity of what is made from them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fusion.errors import ConfigError


def file_digest(path: str, expected: str) -> str:
    """sha256 of the file at `path`.

    Args:
        expected: a digest that the file must have; empty: any.

    Raises:
        ConfigError: there is no such file, or it has another digest.
    """
    if not Path(path).is_file():
        raise ConfigError(f"prompts file {path} is not there (from {Path.cwd()}); set prompts.path")
    return _checked(path, _sha256(Path(path)), expected)


def tree_digest(path: str, expected: str) -> str:
    """As `file_digest`, of a file or of all files of a folder with their names; hidden ones do not count.

    Raises:
        ConfigError: there is nothing, or it has another digest.
    """
    root = Path(path)
    if root.is_file():
        return file_digest(path, expected)
    inside = ((file.relative_to(root), file) for file in root.rglob("*"))
    files = sorted((n.as_posix(), f) for n, f in inside if f.is_file() and not any(p[0] == "." for p in n.parts))
    if not files:
        raise ConfigError(f"prompts folder {path} is not there or holds no file (from {Path.cwd()}); set prompts.path")
    lines = "".join(f"{_sha256(file)} {name}\n" for name, file in files)
    return _checked(path, hashlib.sha256(lines.encode()).hexdigest(), expected)


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checked(path: str, found: str, expected: str) -> str:
    if expected and found != expected:
        raise ConfigError(
            f"{path} has sha256 {found}, but prompts.digest is {expected}; "
            "the file changed: clear or correct the digest"
        )
    return found
