"""A model's likeliest tokens at each place of given responses.

Shapes: N response tokens of a batch, H hidden width, V vocabulary, k candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.rewards.length_batches import length_batches
from fusion.rewards.logprobs import CHUNK_LOGITS, check_head, head_logits, predicting_states

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class TopK:
    """What a model expected at each token of one response; see `fusion.explicit.tables.TOKEN_DISTRIBUTION`."""

    logprobs: np.ndarray
    """float32 [T]."""
    top_ids: np.ndarray
    """int32 [T, k]."""
    top_logprobs: np.ndarray
    """float16 [T, k]."""
    residual: np.ndarray
    """float16 [T]."""


def top_distributions(
    model: PreTrainedModel,
    prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]],
    k: int,
    token_budget: int,
) -> list[TopK]:
    """Distributions at each response token; the softmax is over the model's whole vocabulary, in fp32.

    Raises:
        ConfigError: the model computes its logits in a way that is not known here.
    """
    import torch

    found: dict[int, TopK] = {}
    if not prompt_ids:
        return []
    model.eval()
    with torch.inference_mode():
        check_head(model, [*prompt_ids[0], *response_ids[0]][:8])
        lengths = [len(p) + len(r) for p, r in zip(prompt_ids, response_ids, strict=True)]
        for rows in length_batches(lengths, token_budget):
            responses = [response_ids[i] for i in rows]
            hidden_NH, tokens_N = predicting_states(model, [prompt_ids[i] for i in rows], responses)
            columns = [torch.cat(column).cpu() for column in zip(*_chunks(model, hidden_NH, tokens_N, k), strict=True)]
            sizes = [len(response) for response in responses]
            for i, parts in zip(rows, zip(*(column.split(sizes) for column in columns), strict=True), strict=True):
                found[i] = TopK(*(part.numpy() for part in parts))
    return [found[i] for i in range(len(prompt_ids))]


def _chunks(
    model: PreTrainedModel, hidden_NH: Tensor, tokens_N: Tensor, k: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    import torch

    size = max(1, CHUNK_LOGITS // model.config.get_text_config().vocab_size)
    for hidden, tokens in zip(hidden_NH.split(size), tokens_N.split(size), strict=True):
        logits = head_logits(model, hidden).float()
        normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
        own = logits.gather(-1, tokens[:, None]) - normaliser
        top = logits.topk(min(k, logits.shape[-1]), dim=-1)
        logprobs = top.values - normaliser
        residual = (1 - logprobs.exp().sum(-1)).clamp(min=0.0)
        yield own.squeeze(-1), top.indices.int(), logprobs.half(), residual.half()
