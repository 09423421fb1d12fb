"""A training job from start to export, and through kills."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fusion.errors import ArtifactError, StepFailed
from fusion.objectives.ln_dpo import LnDpo
from fusion.train.config import CheckpointChoice, Dtype, Execution, Lora
from fusion.train.job import TrainJob
from fusion.train.workspace import Workspace
from tests.fusion.train.jobs import assert_same_outcome, elsewhere, losses, make_diverging_job, make_job

pytestmark = pytest.mark.slow


def start(job: TrainJob, folder: Path) -> subprocess.Popen[bytes]:
    """The job in a process of its own."""
    folder.mkdir(exist_ok=True)
    (folder / "job.pickle").write_bytes(pickle.dumps(job))
    return subprocess.Popen([sys.executable, "-m", "tests.fusion.train.jobs", str(folder / "job.pickle")])


def wait_for_checkpoint(job: TrainJob, step: int, process: subprocess.Popen[bytes]) -> None:
    marker = Path(job.work) / "checkpoints" / f"checkpoint-{step}" / "complete.json"
    while not marker.exists():
        assert process.poll() is None, "it ended before the checkpoint was seen"
        time.sleep(0.002)


def test_a_killed_job_continues_and_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    undisturbed = make_job(tmp_path / "undisturbed", keep_last=2)
    undisturbed.run(0, 1)
    job = elsewhere(undisturbed, tmp_path / "killed")
    process = start(job, tmp_path / "child")
    wait_for_checkpoint(job, 5, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Workspace(Path(job.work)).result() is None
    newest = sorted((Path(job.work) / "checkpoints").glob("checkpoint-*/complete.json"))[-1]
    torn = newest.parent.with_name("checkpoint-41")  # as if it had been killed while it saved one
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"global_step": 41')
    job.run(0, 1)
    assert_same_outcome(job, undisturbed, 0.0)


def test_a_job_with_adapters_that_is_stopped_continues_from_the_step_it_stopped_at(tmp_path: Path) -> None:
    undisturbed = make_job(tmp_path / "undisturbed", lora=Lora(rank=4))
    undisturbed.run(0, 1)
    job = elsewhere(undisturbed, tmp_path / "stopped")
    workspace = Workspace(Path(job.work))

    def stop_at_step_7() -> None:
        while workspace.progress()[0] < 7:
            time.sleep(0.002)
        workspace.ask_to_stop()

    thread = threading.Thread(target=stop_at_step_7)
    thread.start()
    job.run(0, 1)
    thread.join()
    assert workspace.result() is None
    assert workspace.latest(0, 1) is not None
    workspace.withdraw_stop()
    job.run(0, 1)
    assert_same_outcome(job, undisturbed, 1e-6)


def stopped(job: TrainJob) -> Path:
    """The checkpoint of a job that was stopped after its first step."""
    workspace = Workspace(job.work)
    workspace.ask_to_stop()
    job.run(0, 1)
    workspace.withdraw_stop()
    return workspace.checkpoints / "checkpoint-1"


@pytest.mark.parametrize("dtype", Dtype)
@pytest.mark.parametrize("stage", [0, 2, 3])
@pytest.mark.parametrize("rank", [0, 4])
def test_every_kind_of_checkpoint_is_read_as_weights(tmp_path: Path, rank: int, stage: int, dtype: Dtype) -> None:
    job = make_job(tmp_path / "job", epochs=1, lora=Lora(rank=rank), zero_stage=stage)
    job = replace(job, config=replace(job.config, dtype=dtype))
    stopped(job)
    job.run(0, 1)
    assert len(losses(job)) == 3


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.flag),)


@pytest.mark.parametrize("shard", ["model_states", "optim_states", "scheduler", "rng_state"])
def test_a_pickle_in_place_of_a_shard_is_not_run(tmp_path: Path, shard: str) -> None:
    """Who can write to the store can replace a shard, and its mark too."""
    job = make_job(tmp_path / "job", epochs=1)
    checkpoint = stopped(job)
    (path,) = [path for path in checkpoint.rglob("*.pt*") if shard in path.name]
    torch.save({"module": Bomb(tmp_path / "flag")}, path)
    Workspace(job.work).complete(1, 1, 1, [])
    with pytest.raises(ArtifactError, match=r"checkpoints holds more than weights \(posix.mkdir\); .*Find out who"):
        job.run(0, 1)
    assert not (tmp_path / "flag").exists()


def test_adapters_are_merged_into_a_plain_model_that_has_learnt(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    job = make_job(tmp_path / "lora", epochs=10, lora=Lora(rank=8), learning_rate=1e-2)
    job.run(0, 1)
    assert not list(Path(job.files).glob("adapter*"))
    model = AutoModelForCausalLM.from_pretrained(job.files)
    from fusion.rewards.logprobs import response_logprobs
    from fusion.train.rows import read_rows

    rows = read_rows(Path(job.work) / "rows.parquet")
    prompts, responses = [row.prompt_ids for row in rows], [row.responses[0] for row in rows]
    with torch.no_grad():
        sums = response_logprobs(model, prompts, responses, 1024)
    mean = -sum(total for total, _ in sums) / sum(count for _, count in sums)
    assert mean < losses(job)[0] - 0.2
    assert mean == pytest.approx(losses(job)[-1], abs=0.2)


@pytest.mark.parametrize("stage", [0, 3])
def test_zero_stages_and_micro_batches_change_no_loss(tmp_path: Path, stage: int) -> None:
    plain = make_job(tmp_path / "plain", LnDpo(), epochs=2)
    plain.run(0, 1)
    other = elsewhere(plain, tmp_path / "other")
    execution = Execution(micro_batch_size=2, zero_stage=stage, gradient_checkpointing=True)
    other = replace(other, config=replace(plain.config, execution=execution))
    other.run(0, 1)
    assert losses(other) == pytest.approx(losses(plain), abs=1e-4)


def test_candidates_are_the_weights_after_their_steps_and_change_nothing(tmp_path: Path) -> None:
    """21 steps; kept are 10 and 20. The model after 20 is what a job of the same rows leaves that is killed there."""
    from safetensors.torch import load_file

    plain = make_job(tmp_path / "plain")
    plain.run(0, 1)
    job = replace(elsewhere(plain, tmp_path / "kept"), choice=CheckpointChoice(every_steps=10, of_last=2))
    process = start(job, tmp_path / "child")
    wait_for_checkpoint(job, 15, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    job.run(0, 1)
    assert losses(job) == losses(plain)
    files = Path(job.files)
    assert sorted(path.name for path in files.iterdir()) == ["step-10", "step-20"]
    result = Workspace(Path(job.work)).result()
    assert result is not None
    assert result["candidates"] == [10, 20]
    weights = [load_file(files / f"step-{step}" / "model.safetensors") for step in (10, 20)]
    weights.append(load_file(Path(plain.files) / "model.safetensors"))
    name = "model.layers.0.mlp.up_proj.weight"
    assert (weights[0][name] - weights[2][name]).abs().max() > (weights[1][name] - weights[2][name]).abs().max() > 0
    assert json.loads((files / "step-10" / "generation_config.json").read_text())["eos_token_id"] == [2]


@pytest.mark.parametrize("stage", [2, 3])
def test_candidates_with_adapters_are_merged_while_training_goes_on(tmp_path: Path, stage: int) -> None:
    plain = make_job(tmp_path / "plain", lora=Lora(rank=4), zero_stage=stage)
    plain.run(0, 1)
    job = replace(elsewhere(plain, tmp_path / "kept"), choice=CheckpointChoice(every_steps=20, of_last=2))
    job.run(0, 1)
    assert losses(job) == pytest.approx(losses(plain), abs=1e-6)
    assert sorted(path.name for path in Path(job.files).iterdir()) == ["step-20", "step-21"]
    last = replace(job, files=str(Path(job.files) / "step-21"))
    assert_same_outcome(last, plain, 1e-6)


def test_jobs_of_one_process_do_not_need_each_others_group(tmp_path: Path) -> None:
    """Between them an engine of the same process may have made a process group and ended it, as vLLM does."""
    make_job(tmp_path / "first").run(0, 1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    torch.distributed.destroy_process_group()
    job = make_job(tmp_path / "second")
    job.run(0, 1)
    assert not torch.distributed.is_initialized()
    assert Workspace(Path(job.work)).result() is not None


def test_a_finished_job_is_not_done_again(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job", epochs=1)
    job.run(0, 1)
    before = (Path(job.files) / "model.safetensors").stat().st_mtime_ns
    job.run(0, 1)
    assert (Path(job.files) / "model.safetensors").stat().st_mtime_ns == before


def test_the_exported_model_ends_its_answers_at_the_end_of_turn(tmp_path: Path) -> None:
    job = replace(make_job(tmp_path / "job", epochs=1), end_of_turn_ids=(1, 2), chat_template="{{ messages }}!")
    job.run(0, 1)
    files = Path(job.files)
    assert json.loads((files / "generation_config.json").read_text())["eos_token_id"] == [1, 2]
    assert (files / "chat_template.jinja").read_text() == "{{ messages }}!"
    assert "lm_head.weight" not in (files / "model.safetensors").read_bytes()[:20000].decode("latin1")


def test_a_loss_that_is_no_number_ends_training_with_the_step(tmp_path: Path) -> None:
    job = make_diverging_job(tmp_path / "job")
    with pytest.raises(StepFailed, match=r"the loss of step 1 is nan; lower learning_rate"):
        job.run(0, 1)
