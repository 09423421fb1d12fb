"""The doctor on clusters: an open head and a readable token are bad, and each finding says what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion import doctor_cluster
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
    ("variables", "mode", "ok", "word", "remedy"),
    [
        ({}, None, True, "let everybody in", "get-auth-token --generate"),
        ({}, 0o600, True, "in ", ""),
        ({}, 0o644, False, "read by other users", "chmod 600"),
        ({"RAY_AUTH_MODE": "disabled"}, 0o600, False, "runs code", "unset RAY_AUTH_MODE"),
        ({"RAY_AUTH_MODE": "token"}, None, False, "there is no", "get-auth-token --generate"),
        ({"RAY_AUTH_TOKEN": "x"}, None, True, "holds the token itself", "unset RAY_AUTH_TOKEN"),
    ],
)
def test_the_token(
    variables: dict[str, str], mode: int | None, ok: bool, word: str, remedy: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if mode is not None:
        put_token(tmp_path, mode)
    finding = doctor_cluster.token()
    assert finding.ok is ok
    assert word in finding.found
    assert remedy in finding.remedy
    assert "t" * 64 not in finding.found + finding.remedy


def test_a_head_that_wants_no_token_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(200, b'{"ray_version": "2.60.0"}') as url:
        monkeypatch.setenv("RAY_ADDRESS", url)
        finding = doctor_cluster.head()
    assert not finding.ok
    assert "RAY_AUTH_MODE=token ray start --head" in finding.remedy


def test_a_head_that_wants_one_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(401, b"Unauthorized") as url:
        monkeypatch.setenv("RAY_ADDRESS", url)
        assert doctor_cluster.head().ok


def test_a_named_head_that_is_not_there_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    finding = doctor_cluster.head()
    assert (finding.ok, finding.remedy.startswith("ray start --head")) == (False, True)


def test_what_would_travel_is_small() -> None:
    finding = doctor_cluster.upload()
    assert finding.ok
    assert "MiB would travel" in finding.found
