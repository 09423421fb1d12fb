"""Log-probabilities of whole responses under a causal language model.

Used by the likelihood reward and for the reference of preference training. Logits are computed for response positions
only, a chunk at a time: for a vocabulary of 262,000, a batch of 8 x 512 positions in fp32 would take 4 GB.

Shapes: B sequences, T tokens, N response positions of a batch, H hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.rewards.length_batches import length_batches

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CHUNK_LOGITS = 2**25
"""Logits held at one time: 128 MiB in fp32."""
HEAD_TOLERANCE = 1e-2


def response_logprobs(
    model: PreTrainedModel,
    prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]],
    token_budget: int,
) -> list[tuple[float, int]]:
    """Sum of log-probabilities of each response given its prompt (nats), and its number of tokens.

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
    results: list[tuple[float, int]] = [(0.0, 0)] * len(prompt_ids)
    if not results:
        return results
    model.eval()
    with torch.inference_mode():
        _check_head(model, [*prompt_ids[0], *response_ids[0]][:8])
        lengths = [len(p) + len(r) for p, r in zip(prompt_ids, response_ids, strict=True)]
        for batch in length_batches(lengths, token_budget):
            sums = _batch_sums(model, [prompt_ids[i] for i in batch], [response_ids[i] for i in batch])
            for i, total in zip(batch, sums, strict=True):
                results[i] = (total, len(response_ids[i]))
    return results


def _batch_sums(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
) -> list[float]:
    import torch

    rows = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    width = max(map(len, rows))
    ids_BT = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=model.device)
    lengths_B = torch.tensor([len(row) for row in rows], device=model.device)
    starts_B = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    positions_T = torch.arange(width, device=model.device)
    mask_BT = (positions_T < lengths_B[:, None]).long()
    hidden_BTH = _hidden(model, ids_BT, mask_BT)
    # The logits at position t - 1 predict token t.
    is_predicting_BT = (positions_T >= starts_B[:, None] - 1) & (positions_T < lengths_B[:, None] - 1)
    is_response_BT = (positions_T >= starts_B[:, None]) & (positions_T < lengths_B[:, None])
    logprobs_N = _token_logprobs(model, hidden_BTH[is_predicting_BT], ids_BT[is_response_BT])
    return [float(part.sum()) for part in logprobs_N.split([len(response) for response in responses])]


def _token_logprobs(model: PreTrainedModel, hidden_NH: Tensor, targets_N: Tensor) -> Tensor:
    import torch

    chunk = max(1, CHUNK_LOGITS // model.config.get_text_config().vocab_size)
    parts = []
    for hidden, targets in zip(hidden_NH.split(chunk), targets_N.split(chunk), strict=True):
        logits = _logits(model, hidden).float()
        picked = logits.gather(-1, targets[:, None]).squeeze(-1)
        parts.append(picked - torch.logsumexp(logits, dim=-1))
    return torch.cat(parts)


def _hidden(model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    return model.get_decoder()(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state


def _logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """[..., H] -> [..., V]: the output embedding, soft-capped where the config says so (Gemma 2)."""
    import torch

    logits = model.get_output_embeddings()(hidden)
    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def _check_head(model: PreTrainedModel, ids: Sequence[int]) -> None:
    """Some families scale or shift their logits in ways of their own; wrong log-probabilities must not pass."""
    import torch

    ids_BT = torch.tensor([list(ids)], device=model.device)
    expected = model(input_ids=ids_BT, use_cache=False).logits.float()
    found = _logits(model, _hidden(model, ids_BT, torch.ones_like(ids_BT))).float()
    if (found - expected).abs().max() > HEAD_TOLERANCE * max(1.0, float(expected.abs().max())):
        raise ConfigError(
            f"{model.config.model_type} models compute their logits in a way that log-probabilities of responses do "
            "not reproduce; choose another model, or teach fusion/rewards/logprobs.py its head"
        )
