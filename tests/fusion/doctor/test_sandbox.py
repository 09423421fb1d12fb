"""The doctor runs a program in the sandbox, and says what to install where there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fusion.doctor.finding import Grade
from fusion.doctor.sandbox import sandbox


def test_a_program_is_run() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    finding = sandbox()
    assert (finding.grade, finding.found) == (Grade.OK, "a program ran in bubblewrap, without a network")


def test_without_bubblewrap_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = sandbox()
    assert (finding.grade, finding.remedy) == (Grade.WARN, "apt-get install bubblewrap")
    assert "rewards that run programs are refused: bwrap is not installed" in finding.found


def test_a_sandbox_that_cannot_isolate_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container without user namespaces."""
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    finding = sandbox()
    assert finding.grade is Grade.WARN
    assert "No permissions to create new namespace" in finding.found
    assert "userns" in finding.remedy
