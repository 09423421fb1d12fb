"""A whole run whose store is on a real S3 server: answers, scores, training with checkpoints, resumed after kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.pico import EXACT, command, environment, fusion, make_workspace, result, rows
from tests.s3_server import BUCKET, needs_s3, s3_server

pytestmark = pytest.mark.slow
STORE = f"store.path=s3://{BUCKET}/fusion/store"
SAVE = (*EXACT, "train.sft.execution.save_every_steps=1", "train.preference.execution.save_every_steps=1")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    needs_s3()
    folder = make_workspace(tmp_path_factory.mktemp("s3"), 24)
    (folder / "home").mkdir()
    with s3_server() as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in (variables | {"HOME": str(folder / "home")}).items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture(scope="module")
def first(workspace: Path) -> subprocess.CompletedProcess[str]:
    """Killed while it trains, then run again."""
    run = subprocess.Popen(
        command(workspace, STORE, *SAVE), cwd=workspace, env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 400
    while not any("complete.json" in name for name in stored()):
        assert run.poll() is None, (workspace / "runs" / "pico" / "log.txt").read_text()[-3000:]
        assert time.monotonic() < deadline, "no checkpoint within 400 s"
        time.sleep(0.3)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    done = fusion(workspace, STORE, *SAVE)
    assert done.returncode == 0, done.stdout + done.stderr + (workspace / "runs/pico/log.txt").read_text()[-4000:]
    return done


def stored() -> list[str]:
    """Every name in the store."""
    from fusion import location

    fs, inner = location.filesystem(STORE.partition("=")[2])
    return sorted(fs.find(inner))


def test_a_killed_run_goes_on_from_its_checkpoint(first: subprocess.CompletedProcess[str], workspace: Path) -> None:
    assert "HIT    responses/pico_a" in first.stdout
    log = (workspace / "runs" / "pico" / "log.txt").read_text()
    steps: list[dict[str, object]] = result(workspace)["steps"]  # type: ignore[assignment]
    assert {step["status"] for step in steps if step["label"] == "sft"} == {"RESUME"}
    assert "torn and ignored" not in log


def test_the_rows_are_those_of_a_run_on_a_disk(first: object, workspace: Path) -> None:
    from fusion.artifact import Artifact
    from fusion.run_folder import RunFolder

    local = fusion(workspace, "name=disk", "store.path=disk", *SAVE)
    assert local.returncode == 0, local.stdout + local.stderr
    tables = RunFolder.open(str(workspace / "runs"), "pico").artifacts()
    for kind in ("prompts/train", "responses/pico_a", "sft/train", "pairs/train"):
        artifact = tables[kind]
        assert isinstance(artifact, Artifact)
        folder = workspace / "runs" / "disk" / "data" / kind
        on_disk = [row for file in sorted(folder.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]
        remote = artifact.read(artifact.table.schema.names).to_pylist()
        assert sorted(remote, key=str) == sorted(on_disk, key=str)
    assert rows(workspace, "sft", "disk")


def test_nothing_is_left_beside_the_artifacts(first: object, workspace: Path) -> None:
    names = stored()
    assert [name for name in names if "/work/" in name or name.endswith("lease.json")] == []
    assert sum(name.endswith("manifest.json") for name in names) == len(result(workspace)["steps"])  # type: ignore[arg-type]
    scratch = workspace / "home" / ".cache" / "fusion" / "scratch"
    assert [path for path in scratch.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == []


def test_links_are_urls_and_the_second_run_does_nothing(first: object, workspace: Path) -> None:
    url = (workspace / "runs" / "pico" / "models" / "final.url").read_text().strip()
    assert url.startswith(f"s3://{BUCKET}/fusion/store/checkpoint/final-")
    again = fusion(workspace, STORE, *SAVE)
    assert again.returncode == 0
    assert "done " not in again.stdout


def test_two_processes_train_over_the_store(first: object, workspace: Path) -> None:
    """Shards of two processes, over two calls; both of this machine, since there is one."""
    done = fusion(
        workspace, STORE, *SAVE, "name=two", "cluster.pools.checkpoint.replicas=2", "train.sft.learning_rate=1.0e-4"
    )
    assert done.returncode == 0, done.stdout + done.stderr + (workspace / "runs/two/log.txt").read_text()[-3000:]


EXPLICIT = (
    "source=[pico_a]", "explicit.dump.max_length=128", "explicit.train.max_length=128",
    "explicit.train.global_batch_size=4", "explicit.train.epochs=1", "explicit.train.execution.save_every_steps=1",
    "cluster.pools.checkpoint.replicas=2",
)  # fmt: skip


@pytest.mark.parametrize(
    "recipe",
    [
        ("recipe=fusellm", "explicit.texts.held_out_frac=0.3", "explicit.texts.block_tokens=60"),
        ("recipe=fusechat", "explicit.texts.form=answers", "merge=linear"),
    ],
)
def test_explicit_fusion_runs_over_the_store(workspace: Path, recipe: tuple[str, ...]) -> None:
    """Distributions, training of two processes on targets, distributions of what was trained; merging what was."""
    name = recipe[0].partition("=")[2]
    done = fusion(workspace, STORE, *EXACT, f"name={name}", *recipe, *EXPLICIT)
    assert done.returncode == 0, done.stdout + done.stderr + (workspace / f"runs/{name}/log.txt").read_text()[-3000:]
    kinds = {str(step["kind"]) for step in result(workspace, name)["steps"]}  # type: ignore[attr-defined]
    assert {"distributions", "targets", "checkpoint"} <= kinds
    again = fusion(workspace, STORE, *EXACT, f"name={name}", *recipe, *EXPLICIT)
    assert "done " not in again.stdout
