"""The content hash by which a file of prompts enters the identity of what is made from it."""

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
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if expected and found != expected:
        raise ConfigError(
            f"{path} has sha256 {found}, but prompts.digest is {expected}; "
            "the file changed: clear or correct the digest"
        )
    return found
