"""The commit protocol on an object store: a real S3 server, several processes, everything read back by others."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fusion import lease, location, transfer
from fusion.artifact import Artifact, PartFolder, Receipt, open_artifact
from fusion.chat import Renderer
from fusion.errors import ArtifactError, ConfigError
from fusion.explicit.config import DumpConfig
from fusion.explicit.tables import FUSED_TARGET, TOKEN_DISTRIBUTION
from fusion.merging.folder import MergeOutput
from fusion.merging.linear import Linear
from fusion.models import ChatConfig, ModelRef, resolve
from fusion.runtime import Done, InProcess, Tasks, TrainSpec, WorkerSpec
from fusion.schema import REWARD, SFT_EXAMPLE
from fusion.stages import distributions, merge, train_distil
from fusion.stages.distributions import DistributionsConfig
from fusion.stages.merge import MergeConfig
from fusion.stages.train_distil import TrainDistilConfig
from fusion.step import Placement
from fusion.table import Table
from fusion.train.config import DistilConfig, Dtype, Execution
from fusion.train.workspace import Workspace
from fusion.transfer import on_disk
from fusion.tree import TreeArtifact, TreeWriter, open_tree
from fusion.work import Input
from fusion.writer import ArtifactWriter
from tests.fusion.stages.test_training import sft_row, work_on
from tests.s3_server import BUCKET, needs_s3, s3_server
from tests.tiny import make_pico_llama


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, str]]:
    needs_s3()
    with s3_server() as variables:
        yield dict(variables)


@pytest.fixture
def store(
    server: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> str:
    for name, value in server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))  # copies and scratch
    return f"s3://{BUCKET}/{request.node.name}"


def rows(*keys: str) -> list[dict[str, object]]:
    shared = {"source": "s", "sample_index": 0, "outcome": "pass", "value": 1.0, "detail": None, "text_hash": "h"}
    return [{"prompt_id": key} | shared for key in keys]


def commit(folder: PartFolder, *keys: str) -> Receipt:
    return Receipt(parts=folder.write(REWARD.build(rows(*keys))))


def units(*keys: str) -> dict[str, str | None]:
    return {f"{key}/s/0": "h" for key in keys}


def elsewhere(code: str, *arguments: str) -> str:
    """What another process prints."""
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout


def test_a_table_is_committed_resumed_and_sealed(store: str) -> None:
    path = f"{store}/rewards/x-0"
    commit(PartFolder(path, REWARD), "b", "a")
    assert open_artifact(path, REWARD) is None  # no manifest, no artifact
    writer = ArtifactWriter(path, REWARD)
    assert writer.pending(units("a", "b", "c")) == ["c/s/0"]
    writer.accept(commit(writer.folder, "c"))
    writer.seal({"inputs": {}})
    sealed = open_artifact(path, REWARD)
    assert sealed is not None
    assert sealed.read(["outcome"])["prompt_id"].to_pylist() == ["a", "b", "c"]
    assert sealed.damage() is None


def test_what_another_process_wrote_a_moment_ago_is_seen(store: str) -> None:
    """A remembered listing would hide it."""
    path = f"{store}/rewards/x-0"
    writer = ArtifactWriter(path, REWARD)
    assert location.names(f"{path}/parts") == []
    code = "import sys; from tests.fusion.test_object_store import *\ncommit(PartFolder(sys.argv[1], REWARD), 'a', 'b')"
    elsewhere(code, path)
    assert writer.refresh() == 2
    assert location.size(f"{path}/manifest.json") == -1
    elsewhere("import sys; from fusion import location; location.put(sys.argv[1], b'{}')", f"{path}/manifest.json")
    assert location.size(f"{path}/manifest.json") == 2


def test_a_torn_and_a_corrupt_part_are_done_again(store: str) -> None:
    path = f"{store}/rewards/x-0"
    folder = PartFolder(path, REWARD)
    (part,) = folder.write(REWARD.build(rows("a")))
    (other,) = folder.write(REWARD.build(rows("b")))
    data = location.get(f"{path}/{part.name}")
    location.put(f"{path}/{part.name}", data[: len(data) // 2])
    location.put(f"{path}/{other.name}", bytes(len(location.get(f"{path}/{other.name}"))))
    writer = ArtifactWriter(path, REWARD)
    assert writer.pending(units("a", "b")) == ["a/s/0", "b/s/0"]


def test_one_of_many_gets_a_new_name(store: str) -> None:
    won: list[int] = []
    racers = [
        threading.Thread(target=lambda n=n: won.append(n) if location.put_new(f"{store}/lease", b"x") else None)
        for n in range(12)
    ]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert len(won) == 1


def test_what_came_just_before_the_removal_stays(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fs, _ = location.filesystem(store)
    path, call = f"{store}/lease", fs.call_s3

    def late(method: str, **arguments: object) -> object:
        if method == "delete_object" and is_late:
            location.put(path, b"new")
        return call(method, **arguments)

    monkeypatch.setattr(type(fs), "call_s3", staticmethod(late))
    location.put(path, b"old")
    is_late = True
    location.remove_if(path, b"old")
    assert location.get(path) == b"new"
    is_late = False
    location.remove_if(path, b"old")
    location.remove_if(path, b"new")
    assert not location.exists(path)


def test_a_lease_is_waited_for_and_taken_from_the_dead(store: str) -> None:
    code = (
        "import sys, time; from fusion import lease\n"
        "with lease.hold(sys.argv[1], lambda: False, print): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, store], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    notes: list[str] = []
    stop = time.monotonic() + 2
    with (
        pytest.raises(ArtifactError, match="stopped while waiting"),
        lease.hold(store, lambda: time.monotonic() > stop, notes.append),
    ):
        pass
    assert f"pid {holder.pid}" in notes[0]
    holder.kill()
    holder.wait()
    with lease.hold(store, lambda: False, notes.append) as check:
        check()
    assert not location.exists(f"{store}/lease.json")


def test_a_folder_of_files_goes_there_and_comes_back_checked(store: str) -> None:
    writer = TreeWriter(f"{store}/checkpoint/sft-0")
    (writer.files / "sub").mkdir(parents=True)
    (writer.files / "config.json").write_text("{}")
    (writer.files / "sub" / "weights").write_bytes(bytes(range(256)) * 1000)
    writer.seal({"inputs": {}})
    assert not writer.files.exists()  # the copy of this machine
    sealed = open_tree(f"{store}/checkpoint/sft-0")
    assert sealed is not None
    assert sealed.damage() is None
    assert (sealed.files / "sub" / "weights").read_bytes() == bytes(range(256)) * 1000
    assert on_disk(sealed.place) == sealed.files


def test_a_corrupt_file_is_not_loaded(store: str) -> None:
    writer = TreeWriter(f"{store}/checkpoint/sft-0")
    writer.files.mkdir(parents=True)
    (writer.files / "weights").write_bytes(b"right")
    sealed = writer.seal({"inputs": {}})
    location.put(f"{sealed.place}/weights", b"wrong")
    assert "corrupt" in (sealed.damage() or "")
    with pytest.raises(ArtifactError, match=f"{sealed.place}/weights is corrupt"):
        on_disk(sealed.place)


def test_a_copy_is_verified_before_it_is_there(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A kill before the hashes were compared left a copy that every later process took."""
    writer = TreeWriter(f"{store}/checkpoint/sft-0")
    writer.files.mkdir(parents=True)
    (writer.files / "weights").write_bytes(b"right")
    sealed = writer.seal({"inputs": {}})
    location.put(f"{sealed.place}/weights", b"wrong")
    monkeypatch.setattr(transfer, "altered", killed)
    with pytest.raises(KeyboardInterrupt):
        on_disk(sealed.place)
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="corrupt"):
        on_disk(sealed.place)


def killed(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_a_listed_name_cannot_lead_out_of_the_copy(store: str, tmp_path: Path) -> None:
    location.put(f"{store}/escaped", b"x")
    entries = [transfer.Listed(name="../escaped", bytes=1, sha256=hashlib.sha256(b"x").hexdigest())]
    with pytest.raises(ArtifactError, match="lies outside"):
        transfer.fetch(f"{store}/files", entries, tmp_path / "copies" / "a")
    assert not (tmp_path / "copies" / "escaped").exists()


def test_a_checkpoint_of_two_machines_is_whole_on_a_third(
    store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each machine sends its own shards; only then the checkpoint counts."""
    carried = []
    for rank, machine in enumerate(("one", "two")):
        monkeypatch.setenv("HOME", str(tmp_path / machine))
        workspace = Workspace(f"{store}/work")
        folder = workspace.checkpoints / "checkpoint-4"
        folder.mkdir(parents=True)
        (folder / f"shard_{machine}").write_text(machine)
        assert workspace.latest(0, 2) is None
        carried += workspace.carry(4, 1, rank, world_size=2, local_rank=0)
    assert [entry["name"] for entry in carried] == ["shard_one", "shard_two"]
    workspace.complete(4, 2, 1, carried)
    monkeypatch.setenv("HOME", str(tmp_path / "three"))
    found = Workspace(f"{store}/work").latest(0, 2)
    assert found is not None
    assert {path.name: path.read_text() for path in found.iterdir()} == {"shard_one": "one", "shard_two": "two"}
    with pytest.raises(ConfigError, match="written by 2 processes"):
        Workspace(f"{store}/work").latest(0, 3)
    location.remove(f"{store}/work/checkpoints/checkpoint-4/shard_one")
    assert Workspace(f"{store}/work").latest(0, 2) is None


def test_a_checkpoint_is_not_loaded_whose_content_is_another(store: str) -> None:
    workspace = Workspace(f"{store}/work")
    folder = workspace.checkpoints / "checkpoint-4"
    folder.mkdir(parents=True)
    (folder / "shard").write_text("right")
    workspace.complete(4, 1, 1, workspace.carry(4, 1, 0, 1, 0))
    location.put(f"{store}/work/checkpoints/checkpoint-4/shard", b"wrong")
    with pytest.raises(ArtifactError, match=r"checkpoint-4/shard is corrupt: .*; remove s3://.*checkpoint-4 to go on"):
        workspace.latest(0, 1)


def test_messages_cross_machines(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = Workspace(f"{store}/work")
    driver.path.mkdir(parents=True)
    driver.rows.write_bytes(b"rows")
    driver.send_rows()
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    process = Workspace(f"{store}/work")
    assert process.fetch_rows().read_bytes() == b"rows"
    process.report(3, 9)
    assert driver.progress() == (3, 9)
    driver.ask_to_stop()
    assert process.is_asked_to_stop()
    driver.withdraw_stop()
    assert not Workspace(f"{store}/work").is_asked_to_stop()
    assert driver.result() is None
    process.finish({"steps": 9})
    assert driver.result() == {"steps": 9}


def test_targets_cross_machines(store: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    driver = Workspace(f"{store}/work")
    driver.path.mkdir(parents=True)
    driver.targets.write_bytes(b"targets")
    driver.send_targets()
    monkeypatch.setenv("HOME", str(tmp_path / "other"))
    for _ in range(2):  # the machine's second process finds the copy of the first
        assert Workspace(f"{store}/work").fetch_targets().read_bytes() == b"targets"


class Elsewhere(InProcess):
    """Workers on another machine: they see the store, and nothing of the driver's disk."""

    @contextmanager
    def away(self) -> Iterator[None]:
        home, aside = Path.home() / ".cache", Path.home() / "driver"
        if home.exists():
            home.rename(aside)
        try:
            yield
        finally:
            shutil.rmtree(home, ignore_errors=True)
            if aside.exists():
                aside.rename(home)

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        with self.away():
            yield from super().map(worker, tasks, placement, name)

    def train(self, spec: TrainSpec, placement: Placement, name: str) -> None:
        with self.away():
            super().train(spec, placement, name)


def trained(path: str, seed: int) -> TreeArtifact:
    """A checkpoint of an earlier step, in the store."""
    writer = TreeWriter(path)
    make_pico_llama(writer.files, seed)
    return writer.seal({})


def stored(path: str, table: Table, rows: list[dict[str, object]]) -> Artifact:
    writer = ArtifactWriter(path, table)
    writer.expect({str(row["prompt_id"]) for row in rows})
    writer.accept(Receipt(writer.folder.write(table.build(rows))))
    return writer.seal({})


def test_a_trained_model_is_read_on_another_machine(store: str) -> None:
    inputs: dict[str, Input] = {
        "texts": stored(f"{store}/texts/x-0", SFT_EXAMPLE, [sft_row(1, "two"), sft_row(2, "four")]),
        "model": trained(f"{store}/checkpoint/sft-0", seed=0),
    }
    config = DistributionsConfig(source="pico", model=None, chat=ChatConfig(), dump=DumpConfig(max_length=64))
    out = ArtifactWriter(f"{store}/distributions/x-0", TOKEN_DISTRIBUTION)
    distributions.run([work_on(distributions.run, config, inputs, out, "distributions")], Elsewhere())
    assert out.seal({}).accounts.rows_out == 2


def test_trained_models_are_merged_into_the_store(store: str, tmp_path: Path) -> None:
    """Bytes are written into the places of an open file, which a store of whole objects has not: the driver merges."""
    base = ModelRef(uri=str(make_pico_llama(tmp_path / "base")))
    resolve(base)
    inputs: dict[str, Input] = {f"model:{n}": trained(f"{store}/checkpoint/{n}-0", n) for n in (1, 2)}
    config = MergeConfig(
        method=Linear(), base=base, models={"1": None, "2": None}, order=["1", "2"], output=MergeOutput()
    )
    out = TreeWriter(f"{store}/checkpoint/final-0")
    merge.run([work_on(merge.run, config, inputs, out, "checkpoint")], Elsewhere())
    name = "model.norm.weight"
    parts = [load_file(inputs[f"model:{n}"].files / "model.safetensors")[name] for n in (1, 2)]  # type: ignore[union-attr]
    merged = load_file(next(out.seal({}).files.glob("*.safetensors")))[name]
    assert torch.allclose(merged, (parts[0] + parts[1]) / 2)


@pytest.mark.slow
def test_texts_and_targets_are_learnt_on_another_machine(store: str, tmp_path: Path) -> None:
    ref = ModelRef(uri=str(make_pico_llama(tmp_path / "pico")))
    resolve(ref)
    rows = [sft_row(number, f"it is {2 * number}") for number in range(8)]
    texts = stored(f"{store}/texts/x-0", SFT_EXAMPLE, rows)
    renderer = Renderer.load(Path(ref.uri), ref.chat)
    learnt = [
        {
            "prompt_id": row["prompt_id"],
            "text_hash": "h",
            "token_ids": (ids := renderer.response_ids(str(row["response"]))),
            "widths": [1] * len(ids),
            "top_ids": ids,
            "top_probs": [np.float16(1.0)] * len(ids),
            "winner": "pico",
            "source_frac": 0.0,
        }
        for row in rows
    ]
    inputs: dict[str, Input] = {"texts": texts, "targets": stored(f"{store}/targets/x-0", FUSED_TARGET, learnt)}
    train = DistilConfig(
        global_batch_size=4, learning_rate=1e-3, max_length=64, dtype=Dtype.FLOAT32,
        execution=Execution(micro_batch_size=4, save_every_steps=1),
    )  # fmt: skip
    out = TreeWriter(f"{store}/checkpoint/final-0")
    config = TrainDistilConfig(model=ref, train=train)
    train_distil.run([work_on(train_distil.run, config, inputs, out, "checkpoint")], Elsewhere())
    sealed = out.seal({})
    assert sealed.manifest["metrics"]["steps"] == train.epochs * 2  # type: ignore[index]
    assert (sealed.files / "model.safetensors").is_file()


def test_a_scheme_without_its_package_says_what_to_type() -> None:
    with pytest.raises(ConfigError, match="pip install what fsspec needs for nosuch://"):
        location.exists("nosuch://x")
    if not _has("gcsfs"):
        with pytest.raises(ConfigError, match=r"; type: pip install gcsfs==2026\.10\.0$"):
            location.exists("gs://bucket/x")


def _has(name: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(name) is not None
