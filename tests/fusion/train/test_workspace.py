"""Which checkpoint is continued from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.train.workspace import Workspace


def save(workspace: Workspace, step: int, world_size: int = 2, keep_last: int = 9) -> Path:
    folder = workspace.checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "shard").write_bytes(b"x" * step)
    workspace.complete(step, world_size, keep_last)
    return folder


def test_the_newest_whole_checkpoint_is_continued_from(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save(workspace, 9)
    newest = save(workspace, 10)
    assert workspace.latest(2) == newest


def test_a_checkpoint_without_its_marker_is_ignored(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    whole = save(workspace, 5)
    (save(workspace, 10) / "complete.json").unlink()
    assert workspace.latest(2) == whole


def test_a_checkpoint_with_a_torn_shard_is_ignored(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    whole = save(workspace, 5)
    (save(workspace, 10) / "shard").write_bytes(b"x")
    assert workspace.latest(2) == whole


def test_shards_of_another_number_of_processes_are_refused_with_the_remedy(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save(workspace, 5)
    with pytest.raises(ConfigError, match="written by 2 processes, and now there are 4: set replicas"):
        workspace.latest(4)


def test_only_the_last_checkpoints_are_kept(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for step in (5, 10, 15):
        save(workspace, step, keep_last=2)
    assert sorted(p.name for p in workspace.checkpoints.iterdir()) == ["checkpoint-10", "checkpoint-15"]


def test_a_result_counts_only_when_it_is_whole(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    (tmp_path / "result.json").write_text('{"steps": ')
    assert workspace.result() is None
    workspace.finish({"steps": 3})
    assert workspace.result() == {"steps": 3}
    assert json.loads((tmp_path / "result.json").read_text()) == {"steps": 3}
