"""The doctor on clusters: an open head and a readable token are bad, and each finding says what to type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.doctor import cluster
from fusion.doctor.finding import Grade
from fusion.provenance import versions
from tests.end_to_end.ray_head import ray_head
from tests.fusion.submission.test_head import server


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def put_token(folder: Path, mode: int) -> None:
    path = folder / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("t" * 64)
    path.chmod(mode)


@pytest.mark.parametrize(
    ("variables", "mode", "grade", "word", "remedy"),
    [
        ({}, None, Grade.WARN, "let everybody in", "get-auth-token --generate"),
        ({}, 0o600, Grade.OK, "in ", ""),
        ({}, 0o644, Grade.FAIL, "read by other users", "chmod 600"),
        ({"RAY_AUTH_MODE": "disabled"}, 0o600, Grade.FAIL, "runs code", "unset RAY_AUTH_MODE"),
        ({"RAY_AUTH_MODE": "token"}, None, Grade.FAIL, "there is no", "get-auth-token --generate"),
        ({"RAY_AUTH_TOKEN": "x"}, None, Grade.WARN, "holds the token itself", "unset RAY_AUTH_TOKEN"),
    ],
)
def test_the_token(
    variables: dict[str, str], mode: int | None, grade: Grade, word: str, remedy: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if mode is not None:
        put_token(tmp_path, mode)
    finding = cluster.token()
    assert finding.grade is grade
    assert word in finding.found
    assert remedy in finding.remedy
    assert "t" * 64 not in finding.found + finding.remedy


def test_a_head_that_wants_no_token_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(200, b'{"ray_version": "2.60.0"}') as url:
        monkeypatch.setenv("RAY_ADDRESS", url)
        finding = cluster.head()
    assert finding.grade is Grade.FAIL
    assert "RAY_AUTH_MODE=token ray start --head" in finding.remedy


@pytest.mark.parametrize(
    ("theirs", "version", "grade", "word", "remedy"),
    [
        ("t" * 64, versions()["ray"], Grade.OK, "takes ours", ""),
        ("t" * 64, "2.1.0", Grade.FAIL, "is Ray 2.1.0, and", "from one lock"),
        ("another", versions()["ray"], Grade.FAIL, "answers 401 to the token", "put the token of that head into"),
    ],
)
def test_a_head_that_wants_a_token_is_shown_ours(
    theirs: str, version: str, grade: Grade, word: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_token(tmp_path, 0o600)
    with server(200, json.dumps({"ray_version": version}).encode(), token=theirs) as url:
        monkeypatch.setenv("RAY_ADDRESS", url)
        finding = cluster.head()
    assert finding.grade is grade
    assert word in finding.found
    assert remedy in finding.remedy
    assert "t" * 64 not in finding.found + finding.remedy


def test_a_head_that_wants_a_token_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(401, b"Unauthorized") as url:
        monkeypatch.setenv("RAY_ADDRESS", url)
        finding = cluster.head()
    assert finding.grade is Grade.FAIL
    assert "there is none here" in finding.found


def test_an_address_for_drivers_is_tried_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    assert cluster.head().grade is Grade.OK
    finding = cluster.joined(None)
    assert finding.grade is Grade.FAIL
    assert finding.found.startswith("nobody answers at RAY_ADDRESS=127.0.0.1:9")
    assert "ray start --head" in finding.remedy


def test_without_an_address_a_run_starts_its_own() -> None:
    assert cluster.joined(None).grade is Grade.OK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_open", "mode", "grade", "word"),
    [
        (False, "token", Grade.OK, "has 1 nodes, wants a token"),
        (False, "disabled", Grade.FAIL, "cannot be joined"),
        (True, "disabled", Grade.FAIL, "takes jobs from anybody"),
    ],
)
def test_a_real_ray_is_joined_as_a_run_would(
    is_open: bool, mode: str, grade: Grade, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ray_head(is_open=is_open, num_cpus=1) as head:
        for name, value in (head.environment | {"RAY_AUTH_MODE": mode}).items():
            monkeypatch.setenv(name, value)
        finding = cluster.joined(head.gcs)
    assert finding.grade is grade, finding
    assert word in finding.found


def test_a_named_head_that_is_not_there_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    finding = cluster.head()
    assert (finding.grade, finding.remedy.startswith("ray start --head")) == (Grade.FAIL, True)


def test_what_would_travel_is_small() -> None:
    finding = cluster.upload()
    assert finding.grade is Grade.OK
    assert "MiB would travel" in finding.found
