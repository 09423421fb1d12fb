"""Which checkpoint is continued from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.errors import ArtifactError, ConfigError
from fusion.train.workspace import Workspace


def save(workspace: Workspace, step: int, world_size: int = 2, keep_last: int = 9) -> Path:
    folder = workspace.checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "shard").write_bytes(b"x" * step)
    carried = [
        entry for rank in range(world_size) for entry in workspace.carry(step, keep_last, rank, world_size, rank)
    ]
    workspace.complete(step, world_size, keep_last, carried)
    return folder


def test_the_newest_whole_checkpoint_is_continued_from(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save(workspace, 9)
    newest = save(workspace, 10)
    assert workspace.latest(0, 2) == newest


def test_a_checkpoint_without_its_marker_is_ignored(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    whole = save(workspace, 5)
    (save(workspace, 10) / "complete.json").unlink()
    assert workspace.latest(0, 2) == whole


def test_a_checkpoint_with_a_torn_shard_is_ignored(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    whole = save(workspace, 5)
    (save(workspace, 10) / "shard").write_bytes(b"x")
    assert workspace.latest(0, 2) == whole


def test_a_shard_of_another_content_is_refused_by_the_process_that_looks_at_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    folder = workspace.checkpoints / "checkpoint-5"
    folder.mkdir(parents=True)
    for name in ("a", "b", "c"):
        (folder / name).write_bytes(b"right")
    shares = [workspace.carry(5, 1, rank, 2, rank) for rank in range(2)]
    assert [[entry["name"] for entry in share] for share in shares] == [["a", "c"], ["b"]]
    (folder / "late").write_bytes(b"seen by the first process only")
    workspace.complete(5, 2, 1, [*shares[0], *shares[1]])
    assert workspace.latest(0, 2) == workspace.latest(1, 2) == folder
    (folder / "late").write_bytes(b"SEEN by the first process only")
    with pytest.raises(ArtifactError, match=f"{folder}/late is corrupt: .*; remove {folder} to go on from the"):
        workspace.latest(1, 2)


def test_shards_of_another_number_of_processes_are_refused_with_the_remedy(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    save(workspace, 5)
    with pytest.raises(ConfigError, match="written by 2 processes, and now there are 4: set replicas"):
        workspace.latest(0, 4)


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
