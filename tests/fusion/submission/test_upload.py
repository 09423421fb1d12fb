"""What travels with a job: what was named, nothing else, whole, and no credential."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.submission.upload import collect, stage, verify

ROOT = Path(__file__).resolve().parents[3]


def litter(folder: Path) -> None:
    """What lies about in a checkout and must not travel."""
    for name in (".git/objects/a", "store/x.parquet", "runs/a/log.txt", ".venv/lib/x.py", "fusion/__pycache__/a.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x" * 1000)
    (folder / "fusion" / "step.py").write_text("a = 1\n")
    (folder / "conf").mkdir()
    (folder / "conf" / "config.yaml").write_text("a: 1\n")
    (folder / "actors").mkdir()


def test_only_the_program_and_what_was_named_travels(tmp_path: Path) -> None:
    litter(tmp_path)
    own = tmp_path / "mine"
    (own / "experiment").mkdir(parents=True)
    (own / "experiment" / "e.yaml").write_text("b: 2\n")
    (own / "notes.txt").write_text("not yaml")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "prompts.jsonl").write_text("{}\n")
    upload = collect(tmp_path, own, ["data/prompts.jsonl"], tmp_path)
    assert sorted(upload.files) == [
        "conf/config.yaml",
        "data/prompts.jsonl",
        "fusion/step.py",
        "own_conf/experiment/e.yaml",
    ]


def test_the_program_itself_is_about_a_mebibyte_and_runs_from_where_it_lands(tmp_path: Path) -> None:
    import subprocess
    import sys

    upload = collect(ROOT, None, [], tmp_path)
    assert upload.num_bytes < 4 * 2**20
    stage(upload, tmp_path)
    plan = [sys.executable, "-m", "fusion", "plan", "experiment=quickstart"]
    done = subprocess.run(plan, cwd=tmp_path, env={"PATH": "", "HOME": "/root"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "checkpoint/final" in done.stdout


def test_sizes_are_told_by_folder(tmp_path: Path) -> None:
    litter(tmp_path)
    (tmp_path / "prompts.jsonl").write_bytes(b"x" * 2048)
    lines = [line.split() for line in collect(tmp_path, None, ["prompts.jsonl"], tmp_path).lines]
    assert lines == [
        ["conf/", "1", "files", "0", "KiB"],
        ["fusion/", "1", "files", "0", "KiB"],
        ["prompts.jsonl", "1", "files", "2", "KiB"],
        ["upload", "3", "files", "2", "KiB"],
    ]


def test_what_is_too_large_is_refused_with_the_file_and_the_way_to_go(tmp_path: Path) -> None:
    litter(tmp_path)
    (tmp_path / "big.jsonl").write_bytes(b"x" * (21 * 2**20))
    with pytest.raises(ConfigError, match=r"21 MiB, more than 20 \(the largest file is big.jsonl\).*s3://"):
        collect(tmp_path, None, ["big.jsonl"], tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", ".", "nothing.txt"])
def test_what_is_not_below_here_is_refused(tmp_path: Path, name: str) -> None:
    litter(tmp_path)
    with pytest.raises(ConfigError, match="--with"):
        collect(tmp_path, None, [name], tmp_path)


def test_a_file_with_a_credential_is_refused_without_showing_it(tmp_path: Path) -> None:
    litter(tmp_path)
    token = "ghp_" + "Zq8Lw3Rt6Yp1Nv4Kc7Xb2Md9Hf5Js0GuTaEi"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "source.yaml").write_text(f"note: {token}\n")
    with pytest.raises(ConfigError, match="holds a GitHub token") as error:
        collect(tmp_path, tmp_path / "own", [], tmp_path)
    assert token not in str(error.value)


def test_what_arrives_is_what_was_sent(tmp_path: Path) -> None:
    litter(tmp_path)
    there = tmp_path / "there"
    digest = stage(collect(tmp_path, None, [], tmp_path), there)
    verify(there, digest)
    (there / "fusion" / "step.py").write_text("a = 2\n")
    with pytest.raises(ConfigError, match=r"step.py is not the file that was sent"):
        verify(there, digest)
    with pytest.raises(ConfigError, match="not the list that was sent"):
        verify(there, "0" * 64)
