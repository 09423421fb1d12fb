"""Log-probabilities of whole responses under a causal language model.

Used by the likelihood reward and for the reference of preference training. Logits are computed for response positions
only, a chunk at a time: for a vocabulary of 262,000, a batch of 8 x 512 positions in fp32 would take 4 GB. A prompt
with several responses goes through the model once, and they continue from its keys and values.

Shapes: B sequences, T tokens, G distinct prompts, N response positions of a batch, H hidden width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.rewards.length_batches import alike, length_batches

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CHUNK_LOGITS = 2**24
"""Logits held at one time: 64 MiB in fp32, and as much again twice for their softmax."""
HEAD_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True)
class Read:
    """What a model that reads a response thinks of it."""

    logprob_sum: float
    """Nats."""
    is_greedy: bool
    """Whether each token is the likeliest at its place, so that greedy decoding would write this response."""


def response_logprobs(
    model: PreTrainedModel,
    prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]],
    token_budget: int,
) -> list[tuple[float, int]]:
    """As `read_responses`: the sum of log-probabilities of each response (nats), and its number of tokens."""
    found = read_responses(model, prompt_ids, response_ids, token_budget)
    return [(one.logprob_sum, len(response)) for one, response in zip(found, response_ids, strict=True)]


def read_responses(
    model: PreTrainedModel,
    prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]],
    token_budget: int,
) -> list[Read]:
    """How likely each response is given its prompt.

    Runs in the model's own dtype and device; the softmax and the sums are in fp32. A result depends on its batch by
    rounding only: padding stands on the right, behind a mask.

    Args:
        prompt_ids: one or more ids each.
        response_ids: one or more ids each, the end of turn included.
        token_budget: tokens of a batch, padding included.

    Raises:
        ValueError: a prompt or a response is empty.
        ConfigError: the model computes its logits in a way that is not known here.
    """
    import torch

    if not all(prompt_ids) or not all(response_ids):
        raise ValueError("a prompt or a response has no tokens")
    results = [Read(0.0, True)] * len(prompt_ids)
    if not results:
        return results
    model.eval()
    with torch.inference_mode():
        check_head(model, [*prompt_ids[0], *response_ids[0]][:8])
        lengths = [len(p) + len(r) for p, r in zip(prompt_ids, response_ids, strict=True)]
        groups, alone = _by_prompt(prompt_ids, shares_prompts(model, max(lengths)))
        for batch in _group_batches(groups, lengths, token_budget):
            rows = [i for group in batch for i in group]
            owners = [number for number, group in enumerate(batch) for _ in group]
            distinct = [prompt_ids[group[0]] for group in batch]
            found = _read_shared(model, distinct, [response_ids[i] for i in rows], owners)
            for i, one in zip(rows, found, strict=True):
                results[i] = one
        for picked in length_batches([lengths[i] for i in alone], token_budget):
            rows = [alone[i] for i in picked]
            found = _read_batch(model, [prompt_ids[i] for i in rows], [response_ids[i] for i in rows])
            for i, one in zip(rows, found, strict=True):
                results[i] = one
    return results


def _by_prompt(prompts: Sequence[Sequence[int]], shares: bool) -> tuple[list[list[int]], list[int]]:
    """Positions of equal prompts together, and positions of prompts that stand alone."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, prompt in enumerate(prompts):
        groups.setdefault(tuple(prompt), []).append(position)
    if not shares:
        return [], list(range(len(prompts)))
    return [g for g in groups.values() if len(g) > 1], [g[0] for g in groups.values() if len(g) == 1]


def shares_prompts(model: PreTrainedModel, longest: int) -> bool:
    """Whether responses may continue from a padded prompt: not past a sliding window, nor from a recurrent state, nor
    where layers, and with them keys and values, are dealt out to several GPUs.
    """
    if len(set(getattr(model, "hf_device_map", {}).values())) > 1:
        return False
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None) or longest + 1
    return kinds <= {"full_attention", "sliding_attention"} and longest < window


def _group_batches(
    groups: Sequence[Sequence[int]], lengths: Sequence[int], token_budget: int
) -> Iterator[list[Sequence[int]]]:
    """Groups of like length; keys and values of a batch stay within the budget, unless one group is larger alone."""
    batch: list[Sequence[int]] = []
    for group in sorted(groups, key=lambda group: -max(lengths[i] for i in group)):
        longest = max(lengths[i] for i in (batch or [group])[0])
        if batch and longest * sum(map(len, [*batch, group])) > token_budget:
            yield batch
            batch = []
        batch.append(group)
    if batch:
        yield batch


def _read_shared(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    owners: Sequence[int],
) -> list[Read]:
    """As `_read_batch`, for responses to few prompts: `owners` says whose each is."""
    import torch

    prompt_ids_GT, prompt_mask_GT = _padded(prompts, model)
    lengths_G = prompt_mask_GT.sum(1)
    whole = model.get_decoder()(input_ids=prompt_ids_GT, attention_mask=prompt_mask_GT, use_cache=True)
    first_GH = whole.last_hidden_state[torch.arange(len(prompts), device=model.device), lengths_G - 1]
    results = [Read(0.0, True)] * len(responses)
    for picked in alike([len(response) for response in responses]):
        ids_BT, mask_BT = _padded([responses[i] for i in picked], model)
        owners_B = torch.tensor([owners[i] for i in picked], device=model.device)
        hidden_BTH = first_GH[owners_B][:, None]
        if ids_BT.shape[1] > 1:
            cache = copy.deepcopy(whole.past_key_values)  # a forward writes into it
            cache.batch_select_indices(owners_B)
            rest = model.get_decoder()(
                input_ids=ids_BT[:, :-1],
                attention_mask=torch.cat([prompt_mask_GT[owners_B], mask_BT[:, :-1]], 1),
                position_ids=lengths_G[owners_B][:, None] + torch.arange(ids_BT.shape[1] - 1, device=model.device),
                past_key_values=cache,
                use_cache=True,
            )
            hidden_BTH = torch.cat([hidden_BTH, rest.last_hidden_state], 1)
        is_response_BT = mask_BT.bool()
        lengths = [len(responses[i]) for i in picked]
        found = _reads(model, hidden_BTH[is_response_BT], ids_BT[is_response_BT], lengths)
        for i, one in zip(picked, found, strict=True):
            results[i] = one
    return results


def _padded(rows: Sequence[Sequence[int]], model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Ids [B, T], padded on the right, and their mask."""
    import torch

    width = max(map(len, rows))
    ids_BT = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=model.device)
    lengths_B = torch.tensor([len(row) for row in rows], device=model.device)
    return ids_BT, (torch.arange(width, device=model.device) < lengths_B[:, None]).long()


def _read_batch(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[Read]:
    hidden_NH, targets_N = predicting_states(model, prompts, responses)
    return _reads(model, hidden_NH, targets_N, [len(response) for response in responses])


def predicting_states(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """The last hidden state before each response token [N, H], and that token [N], response by response.

    The last token of a sequence is not read: it may be one longer than the model's context.
    """
    import torch

    ids_BT, mask_BT = _padded([[*p, *r] for p, r in zip(prompts, responses, strict=True)], model)
    lengths_B = mask_BT.sum(1)
    starts_B = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    positions_T = torch.arange(ids_BT.shape[1], device=model.device)
    hidden_BTH = _hidden(model, ids_BT[:, :-1], mask_BT[:, :-1])
    # The logits at position t - 1 predict token t.
    is_predicting_BT = (positions_T >= starts_B[:, None] - 1) & (positions_T < lengths_B[:, None] - 1)
    is_response_BT = (positions_T >= starts_B[:, None]) & (positions_T < lengths_B[:, None])
    device = hidden_BTH.device  # the last of several, where layers are dealt out to GPUs
    return hidden_BTH[is_predicting_BT[:, :-1].to(device)], ids_BT[is_response_BT].to(device)


def _reads(model: PreTrainedModel, hidden_NH: Tensor, targets_N: Tensor, lengths: Sequence[int]) -> list[Read]:
    """Responses of `lengths` tokens, one after the other."""
    import torch

    chunk = max(1, CHUNK_LOGITS // model.config.get_text_config().vocab_size)
    logprobs, best = [], []
    for hidden, targets in zip(hidden_NH.split(chunk), targets_N.split(chunk), strict=True):
        logits = head_logits(model, hidden).float()
        picked = logits.gather(-1, targets[:, None]).squeeze(-1)
        logprobs.append(picked - torch.logsumexp(logits, dim=-1))
        best.append(logits.argmax(-1) == targets)
    parts = zip(torch.cat(logprobs).split(list(lengths)), torch.cat(best).split(list(lengths)), strict=True)
    return [Read(float(one.sum()), bool(are_best.all())) for one, are_best in parts]


def _hidden(model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return model.get_decoder()(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state


def head_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """[..., H] -> [..., V]: the output embedding, soft-capped where the config says so (Gemma 2)."""
    import torch

    logits = model.get_output_embeddings()(hidden)
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def check_head(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """Some families scale or shift their logits in ways of their own; wrong log-probabilities must not pass."""
    import torch

    ids_BT = torch.tensor([list(ids)], device=model.device)
    expected = model(input_ids=ids_BT, use_cache=False).logits.float()
    found = head_logits(model, _hidden(model, ids_BT, torch.ones_like(ids_BT))).float()
    if (found - expected).abs().max() > HEAD_TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ConfigError(
            f"{model.config.model_type} models compute their logits in a way that log-probabilities of responses do "
            "not reproduce; choose another model, or teach fusion/rewards/logprobs.py its head"
        )
