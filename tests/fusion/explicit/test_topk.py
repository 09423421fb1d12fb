"""The likeliest tokens of each place, against a dense softmax of one sequence at a time."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

import fusion.explicit.topk as topk
from fusion.explicit.topk import TopK, top_distributions

VOCAB = 90
SMALL = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "pad_token_id": 0,
}


def made(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if family == "llama":
        model: PreTrainedModel = LlamaForCausalLM(LlamaConfig(**SMALL))
    else:
        model = Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=2.0))
    for parameter in model.parameters():
        parameter.data *= 4  # so that candidates differ, and the soft cap bites
    return model.eval()


def ragged(count: int) -> tuple[list[list[int]], list[list[int]]]:
    draw = random.Random(2)

    def ids(high: int) -> list[int]:
        return [draw.randrange(1, VOCAB) for _ in range(draw.randint(1, high))]

    return [ids(30) for _ in range(count)], [ids(20) for _ in range(count)]


def assert_dense(model: PreTrainedModel, prompt: list[int], response: list[int], found: TopK, k: int) -> None:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([prompt + response])).logits[0].float()
    logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
    top = logprobs.topk(k)
    own = logprobs.gather(1, torch.tensor(response)[:, None])[:, 0]
    assert found.top_ids.tolist() == top.indices.tolist()
    assert np.allclose(found.top_logprobs, top.values.numpy(), atol=1e-2)  # fp16, of numbers to about 10
    assert np.allclose(found.logprobs, own.numpy(), atol=1e-4)
    assert np.allclose(found.residual, 1 - top.values.exp().sum(1).numpy(), atol=1e-3)


@pytest.mark.parametrize("family", ["llama", "gemma"])
@pytest.mark.parametrize("chunk_logits", [topk.CHUNK_LOGITS, VOCAB * 3, 1])
def test_they_are_those_of_a_dense_softmax(family: str, chunk_logits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of sequences of all lengths, cut into chunks that end within a response."""
    monkeypatch.setattr(topk, "CHUNK_LOGITS", chunk_logits)
    model, (prompts, responses) = made(family), ragged(9)
    everything = top_distributions(model, prompts, responses, k=5, token_budget=120)
    for prompt, response, found in zip(prompts, responses, everything, strict=True):
        assert_dense(model, prompt, response, found, 5)


def test_of_a_small_vocabulary_everything_is_stored_and_nothing_is_left() -> None:
    model, (prompts, responses) = made("llama"), ragged(2)
    for found in top_distributions(model, prompts, responses, k=VOCAB + 10, token_budget=100):
        assert found.top_ids.shape[1] == VOCAB
        assert float(found.residual.max()) < 1e-5
