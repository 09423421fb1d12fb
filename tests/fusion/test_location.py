"""Writes are whole or not at all, also on a disk that is full."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fusion import location
from fusion.errors import ArtifactError
from tests.small_disk import small_disk


@pytest.mark.parametrize("write", [location.put, location.put_new])
def test_a_full_disk_is_named_and_what_was_there_stays(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with small_disk(tmp_path / "disk", 32 * 2**10) as disk:
        old, new = str(disk.folder / "store" / "old"), str(disk.folder / "store" / "new")
        location.put(old, b"o" * 4096)
        with pytest.raises(ArtifactError, match=f"no space is left on the disk of {new}; free some, or set store.path"):
            write(new, b"n" * 64 * 2**10)
        assert location.get(old) == b"o" * 4096
        assert [path.name for path in (disk.folder / "store").iterdir()] == ["old"]
        disk.grow(2**20)
        write(new, b"n" * 64 * 2**10)
        assert location.size(new) == 64 * 2**10


def test_a_library_that_does_not_say_why_it_failed_on_a_full_disk_is_put_into_words(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 16 * 2**10) as disk:
        with pytest.raises(OSError, match="No space"):
            (disk.folder / "half").write_bytes(b"x" * 2**16)
        with (
            pytest.raises(ArtifactError, match="no space is left on the disk of"),
            location.full_disk_named(disk.folder),
        ):
            raise RuntimeError("unexpected pos 4096 vs 3988")
    for folder in (tmp_path, tmp_path / "not" / "made"):
        with pytest.raises(RuntimeError, match="unexpected"), location.full_disk_named(folder):
            raise RuntimeError("unexpected pos 4096 vs 3988")


def test_only_what_was_read_is_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "lease")
    location.put(path, b"mine")
    location.remove_if(path, b"another's")
    assert location.get(path) == b"mine"
    location.remove_if(path, b"mine")
    location.remove_if(path, b"mine")
    assert not list(tmp_path.iterdir())


def test_what_came_just_before_the_removal_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, rename = tmp_path / "lease", os.rename
    path.write_bytes(b"old")

    def late(source: Path, target: Path) -> None:
        path.write_bytes(b"new")
        rename(source, target)

    monkeypatch.setattr(os, "rename", late)
    location.remove_if(str(path), b"old")
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("lease", b"new")]
