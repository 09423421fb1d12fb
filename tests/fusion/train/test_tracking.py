"""Who is told of a training: a real one read back from what it told, and what is refused before one starts."""

from __future__ import annotations

import importlib.util
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.objectives.ln_dpo import LnDpo
from fusion.train.config import PreferenceConfig, SftConfig, Tracker
from fusion.train.job import TrainJob
from fusion.train.tracking import demand, run_name
from tests.end_to_end.pico import command, environment, make_workspace
from tests.fusion.train.jobs import losses, make_job


def told(job: TrainJob, *trackers: Tracker) -> TrainJob:
    return replace(job, config=replace(job.config, report_to=list(trackers)))


def told_to_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """tag -> (step, value) of every event file in a folder; a file is records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            at += 16 + length
    return found


@pytest.mark.slow
@pytest.mark.parametrize("is_sft", [True, False])
def test_tensorboard_has_the_curve_that_the_job_has(tmp_path: Path, is_sft: bool) -> None:
    job = told(make_job(tmp_path / "sft-0f3c", None if is_sft else LnDpo(), epochs=2), Tracker.TENSORBOARD)
    job.run(0, 1)
    scalars = told_to_tensorboard(tmp_path / "sft-0f3c" / "tensorboard")
    assert scalars["train/loss"] == [(step, pytest.approx(loss)) for step, loss in enumerate(losses(job), start=1)]
    assert "train/learning_rate" in scalars
    assert is_sft or any("margin" in tag for tag in scalars)


@pytest.mark.slow
def test_without_a_tracker_nobody_is_told(tmp_path: Path) -> None:
    make_job(tmp_path / "sft-0f3c", epochs=1).run(0, 1)
    assert not list(tmp_path.rglob("events.*"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_has_the_curve_that_the_job_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    uri = f"file://{tmp_path}/mlruns"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database would need more packages
    job = told(make_job(tmp_path / "sft-0f3c", epochs=2), Tracker.MLFLOW)
    job.run(0, 1)
    client = MlflowClient(uri)
    (run,) = client.search_runs(["0"])
    assert run.info.run_name == "sft-0f3c"
    curve = [point.value for point in client.get_metric_history(run.info.run_id, "loss")]
    assert curve == pytest.approx(losses(job))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_keeps_a_run_to_send_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}.items():
        monkeypatch.setenv(name, value)
    told(make_job(tmp_path / "sft-0f3c", epochs=1), Tracker.WANDB).run(0, 1)
    assert [path.stat().st_size > 0 for path in tmp_path.rglob("run-*.wandb")] == [True]


def test_who_is_told_changes_no_address() -> None:
    for config in (SftConfig, PreferenceConfig):
        assert fingerprint({"train": config(report_to=[Tracker.WANDB])}) == fingerprint({"train": config()})


@pytest.mark.parametrize("tracker", [Tracker.MLFLOW, Tracker.WANDB])
def test_a_tracker_that_cannot_be_reached_is_refused_with_what_to_type(tracker: Tracker, tmp_path: Path) -> None:
    is_there = importlib.util.find_spec(tracker.value) is not None
    remedy = {Tracker.MLFLOW: "export MLFLOW_TRACKING_URI=", Tracker.WANDB: "wandb login"}[tracker]
    with pytest.raises(ConfigError, match=remedy if is_there else f"pip install {tracker.value}"):
        demand(tracker, "store", {"HOME": str(tmp_path)})


def test_tensorboard_needs_a_disk() -> None:
    with pytest.raises(ConfigError, match="TENSORBOARD_LOGGING_DIR"):
        demand(Tracker.TENSORBOARD, "s3://bucket/store", {})
    demand(Tracker.TENSORBOARD, "s3://bucket/store", {"TENSORBOARD_LOGGING_DIR": "/logs"})
    demand(Tracker.TENSORBOARD, "store", {})


def test_a_training_is_called_by_its_step() -> None:
    assert run_name("s3://bucket/store/checkpoint/final-0f3c5a/work") == "final-0f3c5a"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("pico"))


def typed(workspace: Path, *overrides: str, verb: str) -> subprocess.CompletedProcess[str]:
    bare = {name: value for name, value in environment().items() if name != "MLFLOW_TRACKING_URI"}
    line = command(workspace, *overrides, verb=verb)
    return subprocess.run(line, cwd=workspace, env=bare, capture_output=True, text=True, timeout=300, check=False)


def test_a_run_that_could_not_tell_is_refused_before_it_starts(workspace: Path) -> None:
    done = typed(workspace, "train.preference.report_to=[mlflow]", verb="run")
    assert done.returncode == 2
    assert "train: report_to=mlflow" in done.stderr
    assert not (workspace / "store").exists()
    assert not (workspace / "runs").exists()


def test_a_tracker_that_nobody_knows_is_refused_with_those_that_are_known(workspace: Path) -> None:
    done = typed(workspace, "train.sft.report_to=[tensorbord]", verb="plan")
    assert done.returncode == 2
    assert "tensorbord" in done.stderr
    assert "TENSORBOARD" in done.stderr


def test_a_tracker_is_named_in_lower_case(workspace: Path) -> None:
    assert typed(workspace, "train.sft.report_to=[tensorboard]", verb="plan").returncode == 0
