"""The sparse loss against a dense one; targets are found by key; a distilled model comes out of a real job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

import fusion.train.distil as distil
from fusion.errors import ArtifactError, StepFailed
from fusion.explicit.tables import FUSED_TARGET
from fusion.train.config import DistilConfig
from fusion.train.distil import add_sparse_head, sparse_losses
from fusion.train.rows import TokenRow
from fusion.train.sparse_targets import SparseTargets, write_targets
from fusion.train.tensors import collate, response_token_logprobs
from fusion.train.workspace import Workspace
from tests.fusion.train.jobs import losses, make_job, random_rows
from tests.tiny import make_pico_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(make_pico_llama(tmp_path_factory.mktemp("m")), dtype=torch.float32)
    add_sparse_head(loaded)
    return loaded


def targets_of(rows: list[TokenRow], width: int = 3) -> pa.Table:
    """Random candidates for each response token; some places have fewer, one has none."""
    source = np.random.default_rng(5)
    made = []
    for row in rows:
        T = len(row.responses[0])
        widths = source.integers(1, width + 1, T)
        widths[0] = 0
        probs = [source.dirichlet(np.ones(w)) for w in widths if w]
        made.append(
            {
                "prompt_id": row.key,
                "text_hash": "h",
                "token_ids": list(row.responses[0]),
                "widths": widths.tolist(),
                "top_ids": [int(i) for w in widths for i in source.choice(260, w, replace=False)],
                "top_probs": [np.float16(p) for one in probs for p in one],
                "winner": None,
                "source_frac": 1.0,
            }
        )
    return FUSED_TARGET.build(made)


def written(folder: Path, rows: list[TokenRow]) -> SparseTargets:
    table = targets_of(rows)
    write_targets(folder / "t.arrow", [table.slice(0, 2), table.slice(2)])
    return SparseTargets.open(folder / "t.arrow")


def dense(model: nn.Module, rows: list[TokenRow], targets: SparseTargets) -> tuple[torch.Tensor, torch.Tensor]:
    """Both losses by way of a whole distribution over the vocabulary at each place, row by row, without padding."""
    text, target = torch.zeros(()), torch.zeros(())
    for row in rows:
        ids, probs = targets.tensors([row.key])
        whole = torch.zeros(len(ids), 262).scatter_add_(1, ids, probs)
        logits = model(input_ids=torch.tensor([[*row.prompt_ids, *row.responses[0]]])).logits[0]
        logprobs = logits[len(row.prompt_ids) - 1 : -1].log_softmax(-1)
        text = text - logprobs.gather(1, torch.tensor(row.responses[0])[:, None]).sum()
        target = target - (whole * logprobs).sum()
    return text, target


def sparse(model: nn.Module, rows: list[TokenRow], targets: SparseTargets) -> tuple[torch.Tensor, torch.Tensor]:
    batch = collate(rows, 1, pad_id=2)  # the pad token is the end of turn: a mask by id would take the ends away
    ids, probs = targets.tensors([row.key for row in rows])
    text, target = model(
        input_ids=batch.input_ids_ST,
        attention_mask=batch.attention_mask_ST,
        position_ids=batch.position_ids_ST,
        response_mask_NK=batch.response_mask_NK,
        target_ids_MW=ids,
        target_probs_MW=probs,
    )
    return text.sum(), target.sum()


def test_losses_and_gradients_are_those_of_dense_targets(model: nn.Module, tmp_path: Path) -> None:
    rows = random_rows(6, 1)
    targets = written(tmp_path, rows)
    gradients = []
    for way in (dense, sparse):
        model.zero_grad()
        text, target = way(model, rows, targets)
        (0.9 * text + 0.1 * target).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        gradients[-1] += [text.detach(), target.detach()]
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-3, rtol=1e-4)


def test_chunks_change_nothing(model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(5, 1)
    targets = written(tmp_path, rows)
    whole = sparse(model, rows, targets)
    monkeypatch.setattr(distil, "CHUNK_LOGITS", 262 * 3)
    assert torch.allclose(torch.stack(sparse(model, rows, targets)), torch.stack(whole), atol=1e-4)


def test_the_text_s_loss_is_that_of_sft(model: nn.Module, tmp_path: Path) -> None:
    rows = random_rows(5, 1)
    text, _ = sparse(model, rows, written(tmp_path, rows))
    plain = -response_token_logprobs(model, collate(rows, 1, pad_id=0)).sum()
    assert text.item() == pytest.approx(plain.item(), abs=1e-3)


def test_a_target_equal_to_the_text_has_the_text_s_loss(model: nn.Module) -> None:
    hidden, labels = torch.randn(4, 32), torch.tensor([7, 8, 9, 2])
    text, target = sparse_losses(model, hidden, labels, labels[:, None], torch.ones(4, 1))  # type: ignore[arg-type]
    assert torch.allclose(text, target)


def test_a_model_that_is_its_own_target_has_no_gradient(model: nn.Module) -> None:
    """CE(P, Q) is least at Q = P."""
    hidden = torch.randn(3, 32, requires_grad=True)
    probs = model.get_output_embeddings()(hidden).softmax(-1).detach()  # type: ignore[operator]
    ids = torch.arange(262).expand(3, -1)
    _, target = sparse_losses(model, hidden, torch.tensor([7, 8, 2]), ids, probs)  # type: ignore[arg-type]
    target.sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().max() < 1e-5


def test_a_token_beyond_the_model_s_outputs_is_refused(model: nn.Module) -> None:
    """A tokenizer may be longer or shorter than the output matrix; the config counts."""
    with pytest.raises(StepFailed, match="token 262, and the model has 262 outputs"):
        sparse_losses(model, torch.randn(1, 32), torch.tensor([7]), torch.tensor([[262]]), torch.ones(1, 1))  # type: ignore[arg-type]


def test_targets_are_found_by_key_in_any_order(tmp_path: Path) -> None:
    rows = random_rows(5, 1)
    targets = written(tmp_path, rows)
    one, _ = targets.tensors([rows[3].key])
    both, probs = targets.tensors([rows[4].key, rows[3].key])
    assert torch.equal(both[-len(one) :, : one.shape[1]], one)
    assert len(both) == len(rows[3].responses[0]) + len(rows[4].responses[0])
    assert set(probs.sum(1).round(decimals=2).tolist()) == {0.0, 1.0}
    with pytest.raises(ArtifactError, match="row nobody has no target"):
        targets.tensors(["nobody"])


@pytest.mark.slow
@pytest.mark.parametrize("label_weight", [1.0, 0.5])
def test_a_job_learns_text_and_targets(tmp_path: Path, label_weight: float) -> None:
    job = make_job(tmp_path / "job", epochs=2)
    settings = {
        f: getattr(job.config, f) for f in ("global_batch_size", "epochs", "learning_rate", "dtype", "execution")
    }
    job = replace(job, config=DistilConfig(label_weight=label_weight, **settings))
    workspace = Workspace(Path(job.work))
    write_targets(workspace.targets, [targets_of(random_rows(21, 1))])
    job.run(0, 1)
    curve = workspace.result()["curve"]  # type: ignore[index]
    for point in curve:  # type: ignore[attr-defined]
        mixed = label_weight * point["text_loss"] + (1 - label_weight) * point["target_loss"]
        assert point["loss"] == pytest.approx(mixed, rel=1e-4)
    if label_weight == 1.0:
        plain = make_job(tmp_path / "plain", epochs=2)
        plain.run(0, 1)
        assert losses(job) == pytest.approx(losses(plain), abs=1e-4)
