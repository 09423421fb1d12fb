"""Log-probabilities of responses: padding and batches change nothing, and they are what the model says."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from fusion.train.rows import TokenRow
from fusion.train.tensors import TokenBatch, collate, response_token_logprobs
from tests.tiny import make_pico_llama


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> nn.Module:
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    folder = make_pico_llama(tmp_path_factory.mktemp("model"))
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    add_fused_lm_head(loaded)
    return loaded


def pairs(count: int) -> list[TokenRow]:
    source = random.Random(3)

    def ids(low: int, high: int) -> tuple[int, ...]:
        return tuple(source.randrange(6, 260) for _ in range(source.randrange(low, high)))

    return [TokenRow(str(i), ids(3, 20), ((*ids(1, 9), 2), (*ids(1, 9), 2))) for i in range(count)]


def sums(model: nn.Module, batch: TokenBatch) -> torch.Tensor:
    return response_token_logprobs(model, batch).sum(1).view(2, -1)


def test_sums_are_those_of_each_sequence_alone_without_padding(model: nn.Module) -> None:
    rows = pairs(5)
    together = sums(model, collate(rows, 2, pad_id=0)).detach()
    for b, row in enumerate(rows):
        for r, response in enumerate(row.responses):
            logits = model(input_ids=torch.tensor([[*row.prompt_ids, *response]])).logits[0].log_softmax(-1).detach()
            start = len(row.prompt_ids) - 1
            alone = sum(logits[start + i, token] for i, token in enumerate(response))
            assert together[r, b].item() == pytest.approx(float(alone), abs=1e-4)


def test_gradients_do_not_depend_on_padding(model: nn.Module) -> None:
    rows = pairs(4)
    sums(model, collate(rows, 2, pad_id=0)).sum().backward()
    together = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    for row in rows:
        sums(model, collate([row], 2, pad_id=0)).sum().backward()
    for one, other in zip(together, [p.grad for p in model.parameters() if p.grad is not None], strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    model.zero_grad()


def test_the_fused_head_of_a_gpu_says_the_same(model: nn.Module) -> None:
    batch = collate(pairs(5), 2, pad_id=0)
    K = batch.response_mask_NK.size(1)
    labels = batch.input_ids_NT.new_full(batch.input_ids_NT.shape, -100)
    labels[:, -K:] = batch.input_ids_NT[:, -K:].masked_fill(~batch.response_mask_NK, -100)
    fused = model(
        input_ids=batch.input_ids_NT,
        attention_mask=batch.attention_mask_NT,
        position_ids=batch.position_ids_NT,
        labels=labels,
        fused_lm_head=True,
    ).log_probs[:, -K:]
    assert torch.allclose(fused, response_token_logprobs(model, batch), atol=1e-5)


def test_no_rows_are_a_filler_that_says_so() -> None:
    assert collate([], 2, pad_id=0).num_rows == 0


def test_references_keep_their_roles() -> None:
    rows = [TokenRow("a", (1,), ((2,), (3,)), (-1.0, -2.0)), TokenRow("b", (1,), ((2,), (3,)), (-3.0, -4.0))]
    references = collate(rows, 2, pad_id=0).references_RB
    assert references is not None
    assert references.tolist() == [[-1.0, -3.0], [-2.0, -4.0]]
