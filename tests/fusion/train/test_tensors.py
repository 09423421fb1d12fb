"""Log-probabilities of responses: padding and batches change nothing, and they are what the model says."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn

from fusion.train.rows import TokenRow
from fusion.train.tensors import TokenBatch, _attention_mask, collate, response_token_logprobs, takes_shared_prompts
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


@pytest.mark.parametrize("num_roles", [2, 3])
def test_a_prompt_that_is_shared_changes_no_number_and_no_gradient(model: nn.Module, num_roles: int) -> None:
    rows = [TokenRow(row.key, row.prompt_ids, (*row.responses, (7, 2))[:num_roles]) for row in pairs(4)]
    rows.append(TokenRow("short", (9,), ((5, 2), (8, 8, 8, 2), (2,))[:num_roles]))
    found = []
    for shares in (False, True):
        batch = collate(rows, num_roles, pad_id=0, shares=shares)
        assert batch.num_tokens == sum(row.num_tokens for row in rows)
        logprobs = response_token_logprobs(model, batch)
        (logprobs * torch.linspace(-1, 1, logprobs.numel()).view_as(logprobs)).sum().backward()
        found.append((batch, logprobs.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
        model.zero_grad()
    (plain, expected, gradients), (shared, logprobs, others) = found
    assert shared.input_ids_ST.size(0) * num_roles == plain.input_ids_ST.size(0)
    assert torch.allclose(logprobs, expected, atol=1e-5)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(gradients, others, strict=True))


def test_responses_to_one_prompt_do_not_see_each_other(model: nn.Module) -> None:
    first, second = ((5, 6, 2), (8, 2)), ((5, 6, 2), (99, 98, 97, 2))
    one, other = (
        response_token_logprobs(model, collate([TokenRow("a", (1, 3), pair)], 2, 0, shares=True))[0, -3:]
        for pair in (first, second)
    )
    swapped = response_token_logprobs(model, collate([TokenRow("a", (1, 3), second[::-1])], 2, 0, shares=True))[1, -3:]
    assert torch.allclose(one, other, atol=1e-6)
    assert torch.allclose(one, swapped, atol=1e-6)


def test_prompts_are_shared_only_where_that_is_exact(model: nn.Module) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    assert takes_shared_prompts(model, 10**6)
    sizes = {"vocab_size": 64, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "head_dim": 8,
             "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
    sliding = AutoConfig.for_model("gemma3_text", sliding_window=32, **sizes)
    assert takes_shared_prompts(AutoModelForCausalLM.from_config(sliding), 31)
    assert not takes_shared_prompts(AutoModelForCausalLM.from_config(sliding), 32)
    assert not takes_shared_prompts(AutoModelForCausalLM.from_config(sliding, attn_implementation="eager"), 31)


def test_a_window_that_is_not_reached_shares_too() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "gemma3_text", sliding_window=64, vocab_size=262, hidden_size=16, intermediate_size=16, num_hidden_layers=6,
        head_dim=8, num_attention_heads=2, num_key_value_heads=1,
    )  # fmt: skip
    windowed = AutoModelForCausalLM.from_config(config).eval()
    plain, shared = (response_token_logprobs(windowed, collate(pairs(4), 2, 0, shares=one)) for one in (False, True))
    assert torch.allclose(plain, shared, atol=1e-5)


@pytest.mark.parametrize("shares", [False, True])
def test_the_fused_head_of_a_gpu_says_the_same(model: nn.Module, shares: bool) -> None:
    batch = collate(pairs(5), 2, pad_id=0, shares=shares)
    plain = response_token_logprobs(model, batch)
    labels = batch.input_ids_ST.new_full(batch.input_ids_ST.shape, -100)
    rows = torch.arange(len(plain))[:, None].expand_as(plain) % len(labels)
    mask = batch.response_mask_NK
    labels[rows[mask], batch.columns_NK[mask]] = batch.input_ids_ST[rows[mask], batch.columns_NK[mask]]
    fused = model(
        input_ids=batch.input_ids_ST,
        attention_mask=_attention_mask(batch),
        position_ids=batch.position_ids_ST,
        labels=labels,
        fused_lm_head=True,
    ).log_probs
    assert torch.allclose(fused[rows[mask], batch.columns_NK[mask] - 1], plain[mask], atol=1e-5)


def test_no_rows_are_a_filler_that_says_so() -> None:
    assert collate([], 2, pad_id=0).num_rows == 0


def test_references_keep_their_roles() -> None:
    rows = [TokenRow("a", (1,), ((2,), (3,)), (-1.0, -2.0)), TokenRow("b", (1,), ((2,), (3,)), (-3.0, -4.0))]
    references = collate(rows, 2, pad_id=0).references_RB
    assert references is not None
    assert references.tolist() == [[-1.0, -3.0], [-2.0, -4.0]]
