"""A trained model as any tool reads it: safetensors, config, tokenizer, chat template, end of turn."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.train.config import TrainingConfig

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def export(
    model: PreTrainedModel | PeftModel,
    weights: Mapping[str, Tensor],
    target: Path,
    *,
    base: str,
    config: TrainingConfig,
    tokenizer: PreTrainedTokenizerBase,
    end_of_turn_ids: Sequence[int],
) -> None:
    """Write the model folder `target`, whole or not at all.

    Args:
        model: the trained model; its own weights may be shared out over processes.
        weights: gathered over all processes: every weight, or those of the adapters.
        base: folder of the model that training started from.
        tokenizer: with the chat template that the model was trained with.
        end_of_turn_ids: tokens at which generation ends.
    """
    building = target.with_name(target.name + ".tmp")
    shutil.rmtree(building, ignore_errors=True)
    full, state = (model, untied(model, weights)) if not config.lora.rank else (merged(base, weights, config), None)
    with _for_inference(full, end_of_turn_ids, tokenizer.pad_token_id):
        full.save_pretrained(building, state_dict=state)
    tokenizer.save_pretrained(building)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(building, target)


@contextmanager
def _for_inference(
    model: PreTrainedModel | PeftModel, end_of_turn_ids: Sequence[int], pad_token_id: int
) -> Iterator[None]:
    """The settings that a finished model has; training may go on with its own after it."""
    config, generation = model.config, model.generation_config
    before = (config.use_cache, generation.eos_token_id, generation.pad_token_id)
    config.use_cache, generation.eos_token_id, generation.pad_token_id = True, list(end_of_turn_ids), pad_token_id
    try:
        yield
    finally:
        config.use_cache, generation.eos_token_id, generation.pad_token_id = before


def untied(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each weight once: gathering copies a tied output head, which would then be saved as one of its own."""
    tied = {name for name, origin in model.all_tied_weights_keys.items() if origin in weights}
    return {name: weight for name, weight in weights.items() if name not in tied}


def merged(base: str, weights: Mapping[str, Tensor], config: TrainingConfig) -> PreTrainedModel:
    """The base model with its adapters added in; in fp32, so that rounding happens once."""
    import torch
    from peft import get_peft_model, set_peft_model_state_dict
    from transformers import AutoModelForCausalLM

    from fusion.train.arguments import lora_config

    with _without_deepspeed():
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    adapted = get_peft_model(model, lora_config(config.lora))
    result = set_peft_model_state_dict(adapted, {name: weight.float() for name, weight in weights.items()})
    assert not result.unexpected_keys, result.unexpected_keys
    return adapted.merge_and_unload().to(getattr(torch, config.dtype.value))


@contextmanager
def _without_deepspeed() -> Iterator[None]:
    """Under ZeRO-3 transformers would load a model together with the other processes, and wait for them for ever."""
    from transformers.integrations import deepspeed

    reference = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = reference
