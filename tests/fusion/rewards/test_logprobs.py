"""Log-probabilities of responses, against the plain way of computing them."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    Cohere2ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
)

from fusion.errors import ConfigError
from fusion.rewards import logprobs
from fusion.rewards.length_batches import alike, length_batches
from fusion.rewards.logprobs import read_responses, response_logprobs, shares_prompts
from tests.tiny import make_pico_llama

SMALL = {
    "vocab_size": 262,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "pad_token_id": 0,
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    folder = make_pico_llama(tmp_path_factory.mktemp("llama"))
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def gemma() -> PreTrainedModel:
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**SMALL, final_logit_softcapping=0.3))
    for parameter in model.parameters():
        parameter.data *= 4  # so that the soft cap bites
    return model


def sequences(count: int) -> tuple[list[list[int]], list[list[int]]]:
    draw = random.Random(1)

    def ids(low: int, high: int) -> list[int]:
        return [draw.randrange(3, 262) for _ in range(draw.randint(low, high))]

    return [ids(1, 40) for _ in range(count)], [ids(1, 30) for _ in range(count)]


def plainly(model: PreTrainedModel, prompt: list[int], response: list[int]) -> float:
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([prompt + response])).logits[0].float()
    logprobs_TV = torch.log_softmax(logits, -1)
    return sum(float(logprobs_TV[len(prompt) + i - 1, token]) for i, token in enumerate(response))


@pytest.mark.parametrize("family", ["llama", "gemma"])
def test_batched_equals_one_plain_forward_each(family: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(family)
    prompts, responses = sequences(20)
    found = response_logprobs(model, prompts, responses, token_budget=200)
    for prompt, response, (total, count) in zip(prompts, responses, found, strict=True):
        assert count == len(response)
        assert total == pytest.approx(plainly(model, prompt, response), abs=1e-4 * count)


@pytest.mark.parametrize("family", ["llama", "gemma"])
@pytest.mark.parametrize("budget", [1, 150, 10_000])
def test_responses_that_share_a_prompt_get_what_they_get_alone(
    family: str, budget: int, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(family)
    prompts, responses = sequences(24)
    prompts = [prompts[i % 5] for i in range(20)] + prompts[20:]  # five prompts of four responses, four alone
    responses[0] = responses[0][:1]
    found = response_logprobs(model, prompts, responses, budget)
    for prompt, response, (total, count) in zip(prompts, responses, found, strict=True):
        assert count == len(response)
        assert total == pytest.approx(plainly(model, prompt, response), abs=1e-4 * count)


def test_a_sliding_window_that_is_exceeded_is_read_whole() -> None:
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(Gemma2Config(**SMALL, sliding_window=8))
    prompts, responses = sequences(6)
    prompts = [prompts[0]] * 6
    found = response_logprobs(model, prompts, responses, 1000)
    for prompt, response, (total, count) in zip(prompts, responses, found, strict=True):
        assert total == pytest.approx(plainly(model, prompt, response), abs=1e-4 * count)


def greedily(model: PreTrainedModel, prompt: list[int], count: int) -> list[int]:
    written: list[int] = []
    for _ in range(count):
        with torch.no_grad():
            logits = model.eval()(input_ids=torch.tensor([prompt + written])).logits
        written.append(int(logits[0, -1].argmax()))
    return written


@pytest.mark.parametrize("shared", [False, True])
def test_what_greedy_decoding_would_write_is_told_from_what_it_would_not(llama: PreTrainedModel, shared: bool) -> None:
    prompts, _ = sequences(4)
    if shared:
        prompts = [prompts[0]] * 4
    responses = [greedily(llama, prompt, 3) for prompt in prompts]
    responses[1] = [*responses[1][:2], (responses[1][2] + 1) % 262]
    responses[2] = [(responses[2][0] + 1) % 262, *responses[2][1:]]
    found = read_responses(llama, prompts, responses, token_budget=500)
    assert [one.is_greedy for one in found] == [True, False, False, True]


@pytest.mark.parametrize("count", [1, 2])
def test_the_last_token_is_predicted_and_not_read(count: int) -> None:
    """So a sequence may be one token longer than the context: this family has no positions beyond it."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=262, n_positions=16, n_embd=32, n_layer=2, n_head=2))
    prompt, response = list(range(3, 15)), [20, 21, 22, 23, 24]
    found = response_logprobs(model, [prompt] * count, [response] * count, token_budget=100)
    with torch.no_grad():
        logprobs = model.eval()(input_ids=torch.tensor([[*prompt, *response][:-1]])).logits[0].log_softmax(-1)
    expected = sum(float(logprobs[len(prompt) + i - 1, token]) for i, token in enumerate(response))
    assert found == [(pytest.approx(expected, abs=1e-4), 5)] * count


def test_prompts_are_shared_on_one_device_only(llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for places, shares in (({"": 0}, True), ({"model.layers.0": 0, "model.layers.1": 1}, False)):
        monkeypatch.setattr(llama, "hf_device_map", places, raising=False)
        assert shares_prompts(llama, 100) is shares


def test_result_does_not_depend_on_the_rest_of_the_batch(llama: PreTrainedModel) -> None:
    prompts, responses = sequences(20)
    together = response_logprobs(llama, prompts, responses, token_budget=10_000)
    alone = [response_logprobs(llama, [p], [r], token_budget=1)[0] for p, r in zip(prompts, responses, strict=True)]
    assert [total for total, _ in together] == pytest.approx([total for total, _ in alone], abs=1e-4)


def test_padding_on_the_left_gives_the_same(llama: PreTrainedModel) -> None:
    prompts, responses = sequences(6)
    found = response_logprobs(llama, prompts, responses, token_budget=10_000)
    rows = [p + r for p, r in zip(prompts, responses, strict=True)]
    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = llama(input_ids=ids, attention_mask=mask, position_ids=positions).logits.log_softmax(-1)
    for i, (response, (total, _)) in enumerate(zip(responses, found, strict=True)):
        at = width - len(response)
        left = sum(float(logits[i, at + j - 1, token]) for j, token in enumerate(response))
        assert total == pytest.approx(left, abs=1e-3)


def test_logits_are_computed_in_chunks_of_response_positions(
    llama: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts, responses = sequences(10)
    whole = response_logprobs(llama, prompts, responses, token_budget=10_000)
    monkeypatch.setattr(logprobs, "CHUNK_LOGITS", 7 * 262)
    largest = 0

    def watch(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal largest
        largest = max(largest, inputs[0].shape[0] if inputs[0].dim() == 2 else 0)

    handle = llama.get_output_embeddings().register_forward_pre_hook(watch)
    chunked = response_logprobs(llama, prompts, responses, token_budget=10_000)
    handle.remove()
    assert largest == 7
    assert [total for total, _ in chunked] == pytest.approx([total for total, _ in whole], abs=1e-4)


def test_model_whose_logits_are_scaled_in_its_own_way_is_refused() -> None:
    config = Cohere2Config(**{k: v for k, v in SMALL.items() if k != "head_dim"}, logit_scale=0.0625)
    with pytest.raises(ConfigError, match="cohere2 models compute their logits"):
        response_logprobs(Cohere2ForCausalLM(config), [[1, 2]], [[3]], 100)


def test_empty_response_is_refused(llama: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        response_logprobs(llama, [[1]], [[]], 100)


def test_batches_are_of_like_length_and_within_budget() -> None:
    lengths = [5, 100, 7, 90, 6, 300]
    batches = list(length_batches(lengths, 200))
    assert batches == [[5], [1, 3], [2, 4, 0]]


def test_like_lengths_waste_a_quarter_at_most() -> None:
    lengths = [int(length) for length in torch.randint(1, 400, (200,), generator=torch.Generator().manual_seed(0))]
    batches = list(alike(lengths))
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    assert all(min(lengths[i] for i in batch) >= 0.75 * lengths[batch[0]] for batch in batches)
    assert len(batches) < 20
