"""What decides races on object stores: Google's conditions, stores that have none, and what to type for a client."""

from __future__ import annotations

import time
import tomllib
from pathlib import Path

import pytest
import yaml

from fusion import lease, location, object_store
from fusion.artifact import PartFolder, Receipt, open_artifact
from fusion.errors import ArtifactError, ConfigError
from fusion.schema import REWARD
from fusion.writer import ArtifactWriter
from tests.fusion.test_object_store import rows, units
from tests.memory_store import ForgetfulStore, GoogleStore, UnconditionalStore, known

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def gs(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    return f"{known(monkeypatch, GoogleStore)}bucket/{request.node.name}"


def test_a_table_is_committed_and_sealed_on_gs(gs: str) -> None:
    writer = ArtifactWriter(f"{gs}/rewards/x-0", REWARD)
    assert writer.pending(units("a", "b")) == ["a/s/0", "b/s/0"]
    writer.accept(Receipt(parts=PartFolder(f"{gs}/rewards/x-0", REWARD).write(REWARD.build(rows("a", "b")))))
    writer.seal({"inputs": {}})
    sealed = open_artifact(f"{gs}/rewards/x-0", REWARD)
    assert sealed is not None
    assert sealed.read(["outcome"])["prompt_id"].to_pylist() == ["a", "b"]
    assert sealed.damage() is None


def test_a_name_on_gs_is_given_once(gs: str) -> None:
    assert location.put_new(f"{gs}/lease", b"one")
    assert not location.put_new(f"{gs}/lease", b"other")
    assert location.get(f"{gs}/lease") == b"one"
    assert location.names(gs) == ["lease"]


def test_on_gs_what_came_just_before_the_removal_stays(gs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, call = f"{gs}/lease", GoogleStore.call

    def late(self: GoogleStore, *words: str, **condition: str) -> None:
        location.put(path, b"new")
        call(self, *words, **condition)

    location.put(path, b"old")
    location.remove_if(path, b"another's")
    assert location.get(path) == b"old"
    with monkeypatch.context() as patched:
        patched.setattr(GoogleStore, "call", late)
        location.remove_if(path, b"old")
    assert location.get(path) == b"new"
    location.remove_if(path, b"new")
    assert not location.exists(path)


def test_a_zonal_bucket_is_refused_where_a_race_is_decided(gs: str) -> None:
    """gcsfs writes over what is there when asked for a new file on such a bucket."""
    with pytest.raises(ConfigError, match="zonal-bucket is a zonal bucket .* two runs could hold one lease"):
        location.put_new("gs://zonal-bucket/lease", b"x")


def test_a_client_without_the_condition_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{known(monkeypatch, UnconditionalStore)}bucket/lease"
    with pytest.raises(ConfigError, match=r"\(UnconditionalStore\) cannot write a file only where there is none"):
        location.put_new(path, b"x")
    assert not location.exists(path)


def test_a_lease_whose_answer_was_lost_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client asks again and hears that the name is taken: a run waited for itself for ever."""
    folder = f"{known(monkeypatch, ForgetfulStore)}bucket/step"
    stop = time.monotonic() + 5
    notes: list[str] = []
    with lease.hold(folder, lambda: time.monotonic() > stop, notes.append) as check:
        check()
        with pytest.raises(ArtifactError, match="stopped while waiting"), lease.hold(folder, lambda: True, print):
            pass
    assert ForgetfulStore.lost
    assert notes == []
    assert not location.exists(f"{folder}/lease.json")


@pytest.mark.parametrize("scheme", object_store.PINS)
def test_a_client_is_named_by_one_version_everywhere(scheme: str) -> None:
    pin = object_store.PINS[scheme]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras[scheme] == [pin]
    said = {
        "s3": (ROOT / "requirements" / "cpu.txt").read_text().splitlines(),
        "gs": yaml.safe_load((ROOT / "cluster" / "gcp.yaml").read_text())["setup_commands"][0].split(),
    }
    assert pin in said[scheme]
