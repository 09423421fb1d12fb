"""Folders that a run writes to, refused where they cannot be, before anything starts."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fusion.errors import ConfigError
from fusion.location import FULL, is_local, local_path


def check_folder(key: str, path: str) -> None:
    """Makes nothing.

    Args:
        key: what is typed to choose another.

    Raises:
        ConfigError: a file stands where the folder, or one above it, would.
    """
    if not is_local(path):
        return
    folder = local_path(path).absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        raise ConfigError(f"{key} is {path}, but {there} is a file; type {key}=FOLDER")


def make_folder(key: str, path: str) -> None:
    """Make it, with those above it, and see that it can be written to.

    Raises:
        ConfigError: it cannot.
    """
    check_folder(key, path)
    if not is_local(path):
        return
    folder = Path(local_path(path))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise
        raise ConfigError(
            f"{key} is {path}, which cannot be written to ({error.strerror}); type {key}=FOLDER, one that can"
        ) from error
