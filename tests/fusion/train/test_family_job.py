"""Training with three roles, with sources and with weights: how it is cut up changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fusion.objectives.base import Objective
from fusion.objectives.dpo import Dpo
from fusion.objectives.infifpo import Infifpo
from fusion.objectives.simpo import Simpo
from fusion.objectives.wrpo import Wrpo
from fusion.train.config import Execution
from fusion.train.rows import read_rows, write_rows
from fusion.train.workspace import Workspace
from tests.fusion.train.jobs import assert_same_outcome, elsewhere, losses, make_job, weighted

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("objective", [Wrpo(beta=0.1, alpha_max=0.5), Infifpo(), Simpo(sft_weight=0.2), None])
def test_micro_batches_change_no_loss_of_weighted_rows(tmp_path: Path, objective: Objective | None) -> None:
    plain = weighted(make_job(tmp_path / "plain", objective, epochs=2), sources=2)
    plain.run(0, 1)
    other = elsewhere(plain, tmp_path / "other")
    replace(other, config=replace(plain.config, execution=Execution(micro_batch_size=1, save_every_steps=0))).run(0, 1)
    assert losses(other) == pytest.approx(losses(plain), abs=1e-4)


@pytest.mark.parametrize("objective", [Dpo(beta=0.1)])
def test_weights_of_1_are_no_weights(tmp_path: Path, objective: Objective) -> None:
    plain = make_job(tmp_path / "plain", objective, epochs=2)
    plain.run(0, 1)
    other = elsewhere(plain, tmp_path / "other")
    rows = [replace(row, weight=1.0) for row in read_rows(Path(plain.work) / "rows.parquet")]
    write_rows(Path(other.work) / "rows.parquet", rows)
    other.run(0, 1)
    assert_same_outcome(other, plain, 1e-6)


def test_the_loss_of_weighted_sft_is_the_weighted_mean_of_each_rows_mean(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from fusion.rewards.logprobs import response_logprobs
    from fusion.train.batches import plan_batches

    job = weighted(make_job(tmp_path / "job", epochs=1))
    job.run(0, 1)
    rows = read_rows(Path(job.work) / "rows.parquet")
    plan = plan_batches([r.key for r in rows], [r.num_tokens for r in rows], job.config, 1, [r.group for r in rows])
    first = [rows[number] for number in plan.steps[0] if number >= 0]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "pico", dtype=torch.float32)
    found = response_logprobs(model, [r.prompt_ids for r in first], [r.responses[0] for r in first], 1024)
    weights = [row.weight or 0.0 for row in first]
    expected = sum(-w * total / count for w, (total, count) in zip(weights, found, strict=True)) / sum(weights)
    assert losses(job)[0] == pytest.approx(expected, abs=1e-4)


def test_wrpo_starts_without_the_source_and_phases_it_in(tmp_path: Path) -> None:
    job = make_job(tmp_path / "job", Wrpo(beta=0.1, alpha_max=0.6), epochs=4)
    job.run(0, 1)
    result = Workspace(Path(job.work)).result()
    assert result is not None
    alphas = [point["alpha"] for point in result["curve"]]  # type: ignore[attr-defined]
    assert alphas == pytest.approx([0.6 * step / 11 for step in range(11)], abs=1e-6)
