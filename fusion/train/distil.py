"""Training on a text and on a sparse distribution at each of its places, without a tensor of the whole vocabulary.

    L = label_weight CE(text) + (1 - label_weight) CE(target, model)
    CE(target, model) = -sum_k p_k log q[id_k] = (sum_k p_k) logsumexp(z) - sum_k p_k z[id_k]

Only the logits of a chunk of places exist at a time; the backward pass computes them again. The papers' code builds two
dense tensors [batch, tokens, vocabulary] of targets beside the logits.

Of FuseLLM's code three kinds of target beside its default are left out: "hard" (the likeliest token of the fused
distribution alone), "hard_and_decay" (the same, with a label_weight that rises to 1) and "soft" (each sequence's loss
times exp(-CE) of its winner, for batches of one).

Shapes: N rows, T tokens, K columns of responses, M response tokens of a micro-batch (row by row), W candidates,
H hidden width, V vocabulary.
"""

from __future__ import annotations

import time
import types
from typing import TYPE_CHECKING

from fusion.errors import StepFailed
from fusion.rewards.logprobs import head_logits
from fusion.train.batches import BatchPlan
from fusion.train.config import Execution
from fusion.train.rows import TokenRow
from fusion.train.sparse_targets import SparseTargets
from fusion.train.tensors import TokenBatch
from fusion.train.trainers import SftPhase
from fusion.train.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


CHUNK_LOGITS = 2**23
"""Logits of one chunk: 32 MiB in fp32. The backward pass holds about five times as much."""


class DistilPhase(SftPhase):
    """Mean loss of the response tokens of a global batch, against the text and against the fused target."""

    label_weight: float

    def follow(self, rows: list[TokenRow], plan: BatchPlan, workspace: Workspace, execution: Execution) -> None:
        from peft import PeftModel

        super().follow(rows, plan, workspace, execution)
        self.targets = SparseTargets.open(workspace.fetch_targets())
        add_sparse_head(self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model)

    def _collated(self, batch: list[tuple[int, list[int]]]) -> dict[str, object]:
        ((_, numbers),) = batch
        ids_MW, probs_MW = self.targets.tensors([self.rows[number].key for number in numbers if number >= 0])
        return {**super()._collated(batch), "target_ids_MW": ids_MW, "target_probs_MW": probs_MW}

    def compute_loss(
        self,
        model: PreTrainedModel,
        inputs: dict[str, object],
        return_outputs: bool = False,
        num_items_in_batch: object = None,
    ) -> Tensor:
        """As every phase's: the share of this micro-batch in the loss of its global batch."""
        self._step_began = self._step_began or time.monotonic()
        denominator = float(str(inputs.pop("denominator")))
        targets = {name: inputs.pop(name) for name in ("target_ids_MW", "target_probs_MW")}
        batch = TokenBatch(**inputs)  # type: ignore[arg-type]
        self.count("tokens", batch.num_tokens, 0)
        if not batch.num_rows:
            targets = {name: tensor.new_zeros((1, 1)) for name, tensor in targets.items()}  # type: ignore[attr-defined]
        text_M, target_M = model(
            input_ids=batch.input_ids_ST,
            attention_mask=batch.attention_mask_ST,
            position_ids=batch.position_ids_ST,
            response_mask_NK=batch.response_mask_NK,
            **targets,
        )
        text, target = text_M.sum(), target_M.sum()
        total = self.label_weight * text + (1 - self.label_weight) * target
        if not batch.num_rows:
            return total * 0.0
        self.count("text_loss", text.detach() / denominator, 0)
        self.count("target_loss", target.detach() / denominator, 0)
        self.count("loss", total.detach() / denominator, 0)
        return total / denominator * self.args.world_size


def add_sparse_head(model: PreTrainedModel) -> None:
    """`model(..., response_mask_NK=, target_ids_MW=, target_probs_MW=)` then gives `sparse_losses` in place of logits.

    In the model's own forward, so that DeepSpeed and PEFT, which wrap it, see every weight that is used.
    """
    plain = model.forward

    def forward(
        self: PreTrainedModel,
        *args: object,
        response_mask_NK: Tensor | None = None,
        target_ids_MW: Tensor | None = None,
        target_probs_MW: Tensor | None = None,
        **kwargs: object,
    ) -> object:
        if response_mask_NK is None or target_ids_MW is None or target_probs_MW is None:
            return plain(*args, **kwargs)
        hidden_NTH = self.base_model(*args, **kwargs, use_cache=False).last_hidden_state
        K = response_mask_NK.size(1)
        hidden_MH = hidden_NTH[:, -K - 1 : -1][response_mask_NK]
        labels_M = kwargs["input_ids"][:, -K:][response_mask_NK]  # type: ignore[index]
        return sparse_losses(self, hidden_MH, labels_M, target_ids_MW, target_probs_MW)

    model.forward = types.MethodType(forward, model)


def sparse_losses(
    model: PreTrainedModel, hidden_MH: Tensor, labels_M: Tensor, target_ids_MW: Tensor, target_probs_MW: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each place against its token and against its target, fp32 [M] each, nats; differentiable.

    Raises:
        StepFailed: a target names a token that the model has not; its tokenizer may be longer than its output.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    size = model.config.get_text_config().vocab_size
    if target_ids_MW.numel() and int(target_ids_MW.max()) >= size:
        raise StepFailed(f"a target names token {int(target_ids_MW.max())}, and the model has {size} outputs")

    def losses(hidden: Tensor, labels: Tensor, ids: Tensor, probs: Tensor) -> tuple[Tensor, Tensor]:
        logits = head_logits(model, hidden).float()
        normaliser = torch.logsumexp(logits, dim=-1)
        text = normaliser - logits.gather(-1, labels[:, None]).squeeze(-1)
        return text, probs.sum(-1) * normaliser - (probs * logits.gather(-1, ids)).sum(-1)

    chunk = max(1, CHUNK_LOGITS // size)
    pieces = zip(*(one.split(chunk) for one in (hidden_MH, labels_M, target_ids_MW, target_probs_MW)), strict=True)
    made = [checkpoint(losses, *piece, use_reentrant=False) for piece in pieces]
    return torch.cat([text for text, _ in made]), torch.cat([target for _, target in made])
