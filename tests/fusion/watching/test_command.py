"""`fusion status` as it is typed, over a real run folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusion.cli import main
from tests.fusion.test_runner import recipe
from tests.fusion.watching.test_recorder import ROOT, run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the run `toy` ended."""
    run(tmp_path / "runs" / "toy", recipe("a", "bb"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def typed(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["status", *words])
    return int(ended.value.code or 0)


def test_a_run_is_shown_step_by_step(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("toy") == 0
    out = capsys.readouterr().out
    assert "toy  done" in out
    assert "3 of 3 steps done" in out
    assert any(
        line.startswith("done") and "rewards/length" in line and "2 in = 2 out" in line for line in out.split("\n")
    )


def test_following_ends_with_the_run(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("toy", "--follow") == 0
    assert capsys.readouterr().out.count("checkpoint/sum") == 1


def test_without_a_name_every_run_has_a_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = runs / "old"
    old.mkdir()
    entry = {"kind": "sft", "label": "x", "status": "NEW", "rows_in": 3, "rows_out": 2, "seconds": 1.0}
    (old / "result.json").write_text(json.dumps({"experiment": "old", "steps": [entry]}))  # before runs kept a state
    assert typed() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["old", "toy"]
    assert "1 of 1 steps done" in lines[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tyo"], ["runs/tyo", "toy"]),
        (["--follow"], ["which run", "toy"]),
        (["--runs", "elsewhere"], ["elsewhere/"]),
        (["toy", "--serve", "0", "--host", "192.0.2.1"], ["192.0.2.1", "--serve PORT"]),
    ],
)
def test_what_cannot_be_shown_is_refused(
    runs: Path, words: list[str], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(*words) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in told)


def test_it_answers_at_once_and_loads_nothing_heavy(runs: Path) -> None:
    """Time of the processor, interpreter and all: this machine may be busy, the code may not be slow."""
    heavy = "assert not {'ray', 'torch', 'pyarrow', 'omegaconf', 'transformers'} & set(sys.modules), sys.modules"
    code = f"import sys\nfrom fusion.cli import _dispatch\nassert _dispatch(['status', 'toy']) == 0\n{heavy}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=runs.parent, env=environment)
        after = os.times()
        own = after.children_user + after.children_system
        spent.append(own - before.children_user - before.children_system)
    assert min(spent) < 0.5
