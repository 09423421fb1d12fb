"""Rows as tensors, and the log-probability of each response token under a model.

Sequences are padded on the left, so that all end at the same column: the model then computes logits for the last
columns only, which is where responses lie. Padding changes no number: it is masked, and positions count from the first
real token.

A prompt stands before each of its responses, in a sequence for each; or once before all of them, where the model allows
it (`takes_shared_prompts`): its last token is repeated before each response, positions go on from there, and no
response sees another.

    prompt a b c, responses x y and z      tokens     a b  c x y  c z
                                           positions  0 1  2 3 4  2 3
                                           segments   0 0  1 1 1  2 2

Shapes: N responses (roles x rows, role by role), S sequences (N, or as many as rows), T tokens, K tokens of the longest
response, C last columns in which all responses lie, R roles, B rows, Z sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.rewards.logprobs import shares_prompts
from fusion.train.rows import TokenRow

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

PADDING = -1
"""Segment of a column that holds no token."""


@dataclass(frozen=True)
class TokenBatch:
    """One micro-batch. `num_rows` is 0 for a filler, which counts for nothing."""

    input_ids_ST: Tensor
    attention_mask_ST: Tensor
    position_ids_ST: Tensor
    segments_ST: Tensor | None
    """0 is the prompt; the others are seen by themselves only. None: plain sequences."""
    response_mask_NK: Tensor
    """Responses end at the last column."""
    columns_NK: Tensor
    """Which column of T each response token is; any where the mask is false."""
    references_RB: Tensor | None
    sources_ZRB: Tensor | None
    weights_B: Tensor | None
    """None: rows are not weighted."""
    num_rows: int
    num_tokens: int
    """Of prompts and responses, a prompt as often as it has responses."""


def collate(rows: Sequence[TokenRow], num_roles: int, pad_id: int, shares: bool = False) -> TokenBatch:
    """Put rows into tensors; no rows become one filler of two tokens, because every process must run every forward.

    Args:
        shares: a prompt stands once before all its responses.
    """
    import torch

    filled = rows or [TokenRow("", (pad_id,), ((pad_id,),) * num_roles, (0.0,) * num_roles)]
    together = [range(num_roles)] if shares else [range(role, role + 1) for role in range(num_roles)]
    sequences = [_sequence(row, roles) for roles in together for row in filled]
    width = max(len(one) for one in sequences)
    tokens_ST3 = torch.tensor([[(pad_id, 0, PADDING)] * (width - len(one)) + one for one in sequences])
    input_ids, positions, segments = tokens_ST3.unbind(2)
    responses = [row.responses[role] for role in range(num_roles) for row in filled]
    longest = max(map(len, responses))
    mask = torch.zeros((len(responses), longest), dtype=torch.bool)
    columns = torch.zeros(mask.shape, dtype=torch.long)
    for n, response in enumerate(responses):
        row, role = filled[n % len(filled)], n // len(filled)
        behind = sum(len(row.responses[later]) + 1 for later in range(role + 1, num_roles)) if shares else 0
        mask[n, longest - len(response) :] = True
        columns[n] = torch.arange(width - behind - longest, width - behind).clamp(min=0)
    has_references = all(row.references for row in filled)
    references = torch.tensor([row.references for row in filled]).T.contiguous() if has_references else None
    has_sources = all(row.sources for row in filled)
    sources = torch.tensor([row.sources for row in filled]).permute(2, 1, 0).contiguous() if has_sources else None
    weights = [row.weight for row in filled if row.weight is not None]
    return TokenBatch(
        input_ids_ST=input_ids,
        attention_mask_ST=(segments != PADDING).long(),
        position_ids_ST=positions,
        segments_ST=segments if shares else None,
        response_mask_NK=mask,
        columns_NK=columns,
        references_RB=references,
        sources_ZRB=sources,
        weights_B=torch.tensor(weights) if len(weights) == len(filled) else None,
        num_rows=len(rows),
        num_tokens=sum(row.num_tokens for row in rows),
    )


def _sequence(row: TokenRow, roles: range) -> list[tuple[int, int, int]]:
    """(token, position, segment) of a prompt with the responses of `roles`."""
    *shared, last = row.prompt_ids
    tokens = [(token, position, 0) for position, token in enumerate(shared)]
    for role in roles:
        behind = enumerate((last, *row.responses[role]), len(shared))
        tokens += [(token, position, role + 1) for position, token in behind]
    return tokens


def takes_shared_prompts(model: PreTrainedModel, longest: int) -> bool:
    """Whether responses may stand behind one prompt in rows of `longest` tokens: its attention takes a mask of ours."""
    return model.config._attn_implementation == "sdpa" and shares_prompts(model, longest)


def response_token_logprobs(model: nn.Module, batch: TokenBatch) -> Tensor:
    """Log-probability of each response token [N, K], nats, fp32, 0 where there is none; differentiable.

    Args:
        model: a causal language model to which TRL has added its fused head (`trl.trainer.utils.add_fused_lm_head`,
            which TRL's trainers do), needed on a GPU only.
    """
    import torch
    from torch.nn.functional import cross_entropy

    tokens = {
        "input_ids": batch.input_ids_ST,
        "attention_mask": _attention_mask(batch),
        "position_ids": batch.position_ids_ST,
        "use_cache": False,
    }
    mask_NK, (S, T) = batch.response_mask_NK, batch.input_ids_ST.shape
    sequence_N = torch.arange(len(mask_NK), device=mask_NK.device) % S
    places_M = sequence_N[:, None].expand_as(mask_NK)[mask_NK], batch.columns_NK[mask_NK]
    targets_M = batch.input_ids_ST[places_M]
    if batch.input_ids_ST.is_cuda:
        # The fused head never holds logits of the whole vocabulary; on a CPU it scores prompts too, which costs more.
        labels_ST = batch.input_ids_ST.new_full((S, T), -100)
        labels_ST[places_M] = targets_M
        logprobs_M = model(**tokens, labels=labels_ST, fused_lm_head=True).log_probs[places_M[0], places_M[1] - 1]
    else:
        C = T - int(places_M[1].min())
        logits_SCV = model(**tokens, logits_to_keep=C + 1).logits[:, :-1]
        picked_M = places_M[0], places_M[1] - (T - C)
        logprobs_M = -cross_entropy(logits_SCV[picked_M].float(), targets_M, reduction="none")
    return logprobs_M.new_zeros(mask_NK.shape, dtype=torch.float32).masked_scatter(mask_NK, logprobs_M.float())


def _attention_mask(batch: TokenBatch) -> Tensor:
    """[S, T], or where prompts are shared [S, 1, T, T]: a column sees what is no later and of the prompt or its own."""
    if batch.segments_ST is None:
        return batch.attention_mask_ST
    seen, own = batch.segments_ST[:, None, None, :], batch.segments_ST[:, None, :, None]
    return ((seen == 0) | (seen == own)).tril()  # padding sees itself: attention over nothing is no number
