"""`fusion doctor` prints a line a finding with what to type, and its exit code says whether a run would be stopped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def doctor(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "fusion", "doctor", *words], capture_output=True, text=True, cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": "http://127.0.0.1:9", "HOME": str(folder)},
        timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_every_finding_has_its_line(tmp_path: Path) -> None:
    code, said = doctor(tmp_path)
    lines = re.findall(r"^(OK  |WARN|FAIL) (.{12}) ", said, re.MULTILINE)
    marks = [(mark.strip(), name.strip()) for mark, name in lines]
    names = [name for _, name in marks]
    assert len(names) == len(set(names))
    for name in ("python", "/dev/shm", "gpu", "packages", "optional", "sandbox", "hub", "store", "ray"):
        assert name in names, said
    assert "recipe" not in names
    assert ("WARN", "hub") in marks
    assert "type: export HF_ENDPOINT" in said
    assert code == int("FAIL" in dict(marks)), said


def test_what_would_stop_a_run_is_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = doctor(tmp_path, "experiment=quickstart", "store.path=file/store")
    assert code == 1
    assert re.search(r"^FAIL +store +.*\n +type: set store.path=FOLDER", said, re.MULTILINE), said
    assert re.search(r"^FAIL +recipe +store.path is .* is a file", said, re.MULTILINE), said


def test_a_typo_is_refused(tmp_path: Path) -> None:
    code, said = doctor(tmp_path, "experiment=quickstrat")
    assert code == 2
    assert "quickstart" in said
