"""Rows as tensors, and the log-probability of each response token under a model.

Sequences are padded on the left, so that all responses end at the same column: the model then computes logits for the
last K columns only, which is where every response lies. Padding changes no number: it is masked, and positions count
from the first real token.

Shapes: N sequences (roles x rows, role by role), T tokens, K tokens of the longest response, R roles, B rows,
S sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.train.rows import TokenRow

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class TokenBatch:
    """One micro-batch. `num_rows` is 0 for a filler, which counts for nothing."""

    input_ids_NT: Tensor
    attention_mask_NT: Tensor
    position_ids_NT: Tensor
    response_mask_NK: Tensor
    references_RB: Tensor | None
    sources_SRB: Tensor | None
    weights_B: Tensor | None
    """None: rows are not weighted."""
    num_rows: int


def collate(rows: Sequence[TokenRow], num_roles: int, pad_id: int) -> TokenBatch:
    """Put rows into tensors; no rows become one filler of two tokens, because every process must run every forward."""
    import torch

    filled = rows or [TokenRow("", (pad_id,), ((pad_id,),) * num_roles, (0.0,) * num_roles)]
    sequences = [(row.prompt_ids, row.responses[role]) for role in range(num_roles) for row in filled]
    width = max(len(prompt) + len(response) for prompt, response in sequences)
    longest = max(len(response) for _, response in sequences)
    input_ids = torch.full((len(sequences), width), pad_id)
    attention = torch.zeros((len(sequences), width), dtype=torch.long)
    response_mask = torch.zeros((len(sequences), longest), dtype=torch.bool)
    for i, (prompt, response) in enumerate(sequences):
        tokens = [*prompt, *response]
        input_ids[i, width - len(tokens) :] = torch.tensor(tokens)
        attention[i, width - len(tokens) :] = 1
        response_mask[i, longest - len(response) :] = True
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    has_references = all(row.references for row in filled)
    references = torch.tensor([row.references for row in filled]).T.contiguous() if has_references else None
    has_sources = all(row.sources for row in filled)
    sources = torch.tensor([row.sources for row in filled]).permute(2, 1, 0).contiguous() if has_sources else None
    weights = [row.weight for row in filled if row.weight is not None]
    weights_B = torch.tensor(weights) if len(weights) == len(filled) else None
    return TokenBatch(input_ids, attention, positions, response_mask, references, sources, weights_B, len(rows))


def response_token_logprobs(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Log-probability of each response token [N, K], nats, fp32, 0 where there is none; differentiable.

    Args:
        model: a causal language model to which TRL has added its fused head (`trl.trainer.utils.add_fused_lm_head`,
            which TRL's trainers do), needed on a GPU only.
    """
    K = batch.response_mask_NK.size(1)
    tokens = {
        "input_ids": batch.input_ids_NT,
        "attention_mask": batch.attention_mask_NT,
        "position_ids": batch.position_ids_NT,
        "use_cache": False,
    }
    targets_NK = batch.input_ids_NT[:, -K:]
    if batch.input_ids_NT.is_cuda:
        # The fused head never holds logits of the whole vocabulary; on a CPU it scores prompts too, which costs more.
        labels_NT = batch.input_ids_NT.new_full(batch.input_ids_NT.shape, -100)
        labels_NT[:, -K:] = targets_NK.masked_fill(~batch.response_mask_NK, -100)
        fused_NK: Tensor = model(**tokens, labels=labels_NT, fused_lm_head=True).log_probs[:, -K:]
        return fused_NK.float()
    from torch.nn.functional import cross_entropy

    logits_NKV = model(**tokens, logits_to_keep=K + 1).logits[:, :-1]
    logprobs = -cross_entropy(
        logits_NKV[batch.response_mask_NK].float(), targets_NK[batch.response_mask_NK], reduction="none"
    )
    return logprobs.new_zeros(targets_NK.shape).masked_scatter(batch.response_mask_NK, logprobs)
