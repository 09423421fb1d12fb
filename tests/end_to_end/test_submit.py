"""A run submitted to a real head: it runs there, comes back, survives Ctrl-C, and tells no secret."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.pico import environment, hear_ctrl_c, make_workspace
from tests.end_to_end.ray_head import RayHead, processes_of, ray_head

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
CANARIES = {
    "HF_TOKEN": "hf_" + "C4n4ryHubQwErTyUiOpAsDfGh",
    "OPENAI_API_KEY": "sk-proj-" + "C4n4ryEndpointZxCvBnMqWeRtYuIoPaSd",
    "AWS_SECRET_ACCESS_KEY": "C4n4ryBucketKey/QwErTyUiOpAsDfGhJkLzXcVbNm",
}
"""Secrets in the environment of the nodes and of who submits."""


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head(**CANARIES) as started:
        yield started
    assert processes_of(started.folder) == [], "the head left processes"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("submit"), 16)


def command(head: RayHead, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "fusion", "submit", "--address", head.url, "--config-dir", "conf", "experiment=pico",
        *arguments,
    ]  # fmt: skip


def call(workspace: Path, words: list[str], head: RayHead) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=workspace, env=environment() | head.environment | CANARIES, capture_output=True, text=True,
        timeout=500, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def first(head: RayHead, workspace: Path) -> subprocess.CompletedProcess[str]:
    done = call(workspace, command(head), head)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_the_result_comes_back_and_the_store_stays_on_the_cluster(
    first: subprocess.CompletedProcess[str], workspace: Path, head: RayHead
) -> None:
    result = json.loads((workspace / "runs" / "pico" / "result.json").read_text())
    there = json.loads((head.folder / "home" / "runs" / "pico" / "result.json").read_text())
    assert result == there
    assert result["store"] == str(head.folder / "home" / "store")
    assert not (workspace / "store").exists()
    assert json.loads((workspace / "runs" / "pico" / "job.json").read_text())["code"] == 0


def test_what_travels_is_printed_with_its_size_and_is_small(first: subprocess.CompletedProcess[str]) -> None:
    listed = [line.split() for line in first.stdout.splitlines() if " files " in line]
    assert [words[0] for words in listed] == ["actors/", "conf/", "fusion/", "own_conf/", "upload"]
    assert 200 < float(listed[-1][3].replace(",", "")) < 3000  # KiB


def test_the_log_is_followed_and_files_in_it_are_not_shown(first: subprocess.CompletedProcess[str]) -> None:
    assert "done   checkpoint/final" in first.stdout
    assert "fusion-file" not in first.stdout
    assert first.stderr == ""


def test_no_secret_of_the_environment_is_in_any_output(
    first: subprocess.CompletedProcess[str], workspace: Path, head: RayHead
) -> None:
    """Terminal, job description, Ray's logs, configs, results, reports, cards and every file of the store."""
    jobs = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "job", "list", "--address", head.url],
        env=environment() | head.environment | {"RAY_AUTH_MODE": "token"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "fusion-pico" in jobs
    texts = {"terminal": (first.stdout + first.stderr).encode(), "jobs": jobs.encode()}
    logs = head.folder / "r" / "session_latest" / "logs"
    for folder in (workspace / "runs", head.folder / "home", logs.resolve()):
        files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        assert files
        texts |= {str(path): path.read_bytes() for path in files}
    for name, canary in CANARIES.items():
        assert [place for place, text in texts.items() if canary.encode() in text] == [], name


def test_a_secret_in_an_override_is_refused_before_anything_is_sent(head: RayHead, workspace: Path) -> None:
    words = command(head, f"store.path=s3://user:{CANARIES['OPENAI_API_KEY']}@bucket/store")
    refused = call(workspace, words, head)
    assert refused.returncode == 2
    assert "store.path holds what looks like a secret" in refused.stderr
    assert CANARIES["OPENAI_API_KEY"] not in refused.stdout + refused.stderr


def test_the_second_job_does_no_work(first: object, head: RayHead, workspace: Path) -> None:
    again = call(workspace, command(head), head)
    assert again.returncode == 0
    assert "HIT    checkpoint/final" in again.stdout
    assert "done " not in again.stdout


def test_a_failed_run_gives_its_exit_code_and_says_what_to_do(head: RayHead, workspace: Path) -> None:
    failed = call(workspace, command(head, "name=bad", "prompts.path=/nowhere/prompts.jsonl"), head)
    assert failed.returncode == 2
    assert "/nowhere/prompts.jsonl" in failed.stdout
    assert "goes on from there" in failed.stderr
    assert not (workspace / "runs" / "bad").exists()


def test_ctrl_c_leaves_the_job_running_and_says_how_to_follow_it(head: RayHead, workspace: Path) -> None:
    run = subprocess.Popen(
        command(head, "name=long", "seed=7"), cwd=workspace, env=environment() | head.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c,
    )  # fmt: skip
    assert run.stdout is not None
    for line in run.stdout:
        if "prompts/train" in line:
            break
    time.sleep(1)
    os.kill(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "the job goes on" in told
    how = next(line for line in told.splitlines() if line.startswith("follow:"))
    assert "ray job stop" in told
    words = [sys.executable, "-m", *how.split()[1:]]
    followed = call(workspace, words, head)
    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert (workspace / "runs" / "long" / "result.json").exists()


def test_plain_ray_job_submit_runs_the_same(first: object, head: RayHead, workspace: Path, tmp_path: Path) -> None:
    """`ray job submit --working-dir . -- fusion run ...` from a checkout: what `fusion submit` made is found again."""
    checkout = tmp_path / "checkout"
    kept = (".rayignore", ".gitignore", "pyproject.toml")
    for name in ("fusion", "actors", "conf"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in kept:
        shutil.copy(ROOT / name, checkout / name)
    (checkout / ".git").mkdir()
    (checkout / ".git" / "huge").write_bytes(os.urandom(3 * 2**20))
    done = subprocess.run(
        [
            sys.executable, "-m", "ray.scripts.scripts", "job", "submit", "--address", head.url, "--working-dir", ".",
            "--", "fusion", "run", "--config-dir", str(workspace / "conf"), "experiment=pico",
        ],
        cwd=checkout, env=environment() | head.environment | {"RAY_AUTH_MODE": "token"}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "HIT    checkpoint/final" in done.stdout
    packages = list((head.folder / "r" / "session_latest" / "runtime_resources").resolve().rglob("_ray_pkg_*"))
    assert not [path for path in packages if (path / ".git").exists()]


def test_an_open_head_is_refused_unless_it_is_named(workspace: Path) -> None:
    with ray_head(is_open=True, num_cpus=1) as open_head:
        refused = call(workspace, command(open_head), open_head)
        assert refused.returncode == 2
        assert "takes jobs without a token" in refused.stderr
        name = open_head.url.removeprefix("http://")
        assert f"--allow-open-head {name}" in refused.stderr
        words = command(open_head, "--allow-open-head", name, "--detach", "prompts.path=/nowhere")
        allowed = call(workspace, words, open_head)
        assert allowed.returncode == 0, allowed.stderr
        assert "follow:" in allowed.stdout
