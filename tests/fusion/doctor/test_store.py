"""The doctor writes to the store, races for a name, locks, and leaves nothing; a store that cannot is told."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from fusion.doctor.finding import Grade
from fusion.doctor.store import object_stores, store
from tests.memory_store import CarelessStore, GoogleStore, known
from tests.s3_server import BUCKET, needs_s3, s3_server


def test_a_folder_that_is_not_there_yet_is_tried_where_it_would_be_made(tmp_path: Path) -> None:
    path = str(tmp_path / "new" / "store")
    finding = store(path)
    assert (finding.grade, finding.found) == (Grade.OK, f"{path} can be written, listed and locked")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = store(str(tmp_path / "file" / "store"))
    assert finding.grade is Grade.FAIL
    assert "NotADirectoryError" in finding.found
    assert finding.remedy == "set store.path=FOLDER where you may write"


def test_a_store_on_which_two_runs_would_hold_one_lease_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = store(f"{known(monkeypatch, CarelessStore)}bucket/store")
    assert finding.grade is Grade.FAIL
    assert "two runs would hold one lease" in finding.found
    assert CarelessStore.store == {}


def test_a_google_store_is_used_as_a_run_would(monkeypatch: pytest.MonkeyPatch) -> None:
    assert store(f"{known(monkeypatch, GoogleStore)}bucket/store").grade is Grade.OK
    finding = store("gs://zonal-bucket/store")
    assert finding.grade is Grade.FAIL
    assert "zonal-bucket is a zonal bucket" in finding.found
    assert finding.remedy.startswith("store.path=FOLDER")


def test_a_scheme_without_its_package_says_what_to_install() -> None:
    finding = store("nosuch://bucket/store")
    assert finding.grade is Grade.FAIL
    assert finding.remedy.startswith("pip install")


def test_an_object_store_is_used_as_a_run_would(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_s3()
    with s3_server() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        finding = store(f"s3://{BUCKET}/a/store")
        assert (finding.grade, finding.remedy) == (Grade.OK, "")
        assert fsspec.filesystem("s3", use_listings_cache=False).find(BUCKET) == []


def test_an_object_store_that_is_not_there_names_who_has_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_s3()
    with s3_server() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        finding = store("s3://no-such-bucket/store")
    assert finding.grade is Grade.FAIL
    assert finding.remedy.startswith("aws sts get-caller-identity")


def test_stores_are_a_note() -> None:
    assert object_stores().grade is Grade.OK
    assert object_stores().found.startswith("disk")
