"""A GGUF file as a folder that any tool reads: bf16 safetensors, config, tokenizer.

The pieces are transformers' own: its header reader, de-quantiser and tokenizer builder. Its one-call loader parses the
vocabulary three times in Python, builds the name map once a module, and hands back a model that refuses to be saved;
putting the pieces together here takes 9 s instead of 59 s for Gemma-3-270m. Only families whose weights were compared
with that loader are accepted, because each family stores some tensors in an order of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True)
class Family:
    """What GGUF calls an architecture, in transformers' terms."""

    model_type: str
    restore: Callable[[str, torch.Tensor, PreTrainedConfig], torch.Tensor]
    """(GGUF tensor name, de-quantised tensor, config) -> the tensor as transformers stores it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a GGUF file: its raw bytes (a view of the mapped file), its type and its shape."""

    data: np.ndarray
    ggml_type: int
    shape: tuple[int, ...]

    def values(self) -> np.ndarray:
        """De-quantised, float32, in `shape`."""
        import numpy as np
        from gguf import GGMLQuantizationType, dequantize, quant_shape_to_byte_shape

        kind = GGMLQuantizationType(self.ggml_type)
        if kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            plain = self.data.view("<f4" if kind is GGMLQuantizationType.F32 else "<f2")
            return plain.reshape(self.shape).astype("<f4")
        rows = self.data.reshape(quant_shape_to_byte_shape(self.shape, kind))
        return np.asarray(dequantize(rows, kind)).reshape(self.shape)


def read(file: Path) -> tuple[dict[str, object], dict[str, Stored]]:
    """Metadata (arrays of strings as their lengths) and tensors by name; nothing is de-quantised yet.

    Raises:
        ConfigError: the file is not GGUF.
    """
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    # transformers' public header class refuses types that only gguf can de-quantise (Q5_0), so its parts are used.
    from transformers.integrations.gguf.reader import _mapped, _read_metadata, _read_tensor_table

    blob = _mapped(str(file))
    try:
        metadata, num_tensors, position = _read_metadata(blob, str(file))
    except ValueError as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    table, position = _read_tensor_table(blob, num_tensors, position)
    alignment = metadata.get("general.alignment", 32)
    start = -(-position // alignment) * alignment
    stored = {}
    for name, shape, ggml_type, offset in table:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(ggml_type)]
        num_bytes = math.prod(shape) // block * block_bytes
        stored[name] = Stored(blob[start + offset : start + offset + num_bytes], ggml_type, shape)
    return metadata, stored


def convert(file: Path, folder: Path) -> None:
    """Write `file` to `folder` as bf16 safetensors with its config and tokenizer.

    Raises:
        ConfigError: the file is not GGUF, or of a family whose tensor layout is not known here.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    metadata, stored = read(file)
    name = metadata["general.architecture"]
    if name not in FAMILIES:
        raise ConfigError(
            f"{file} holds a {name} model; GGUF files of {sorted(FAMILIES)} are converted, give others as a folder"
        )
    family = FAMILIES[name]
    fields = _config_fields(metadata) | {"tie_word_embeddings": "output.weight" not in stored}
    config = AutoConfig.for_model(family.model_type, dtype=torch.bfloat16, **fields)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config.architectures = [type(model).__name__]
    weights = _weights(stored, name, family, config, list(model.state_dict()))
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    GenerationConfig.from_model_config(config).save_pretrained(folder)
    save_tokenizer(file, folder, config.max_position_embeddings)


def _config_fields(metadata: dict[str, object]) -> dict[str, object]:
    from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

    architecture = str(metadata["general.architecture"])
    renamed = {k: v for k, v in GGUF_CONFIG_MAPPING[architecture].items() if v}
    fields = {
        new: metadata[f"{architecture}.{old}"] for old, new in renamed.items() if f"{architecture}.{old}" in metadata
    }
    tokens = {"bos": "bos", "eos": "eos", "padding": "pad", "unknown": "unk"}
    ids = {f"{new}_token_id": metadata.get(f"tokenizer.ggml.{old}_token_id") for old, new in tokens.items()}
    # The reader gives an array of strings it was not asked for as its length.
    return {"vocab_size": metadata["tokenizer.ggml.tokens"]} | fields | {k: v for k, v in ids.items() if v is not None}


def _weights(
    stored: dict[str, Stored], architecture: str, family: Family, config: PreTrainedConfig, wanted: list[str]
) -> dict[str, torch.Tensor]:
    import torch
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    arch = next(arch for arch, name in MODEL_ARCH_NAMES.items() if name == architecture)
    name_map = get_tensor_name_map(arch, config.num_hidden_layers)
    weights: dict[str, torch.Tensor] = {}
    for name in wanted:
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, suffix = name.rsplit(".", 1)
        gguf_name = f"{name_map.get_name(stem)}.{suffix}"
        if gguf_name not in stored:
            raise ConfigError(f"the GGUF file lacks {gguf_name}, which the model's {name} needs; it is incomplete")
        tensor = family.restore(gguf_name, torch.from_numpy(stored[gguf_name].values()), config)
        weights[name] = tensor.to(torch.bfloat16).contiguous()
    return weights


def save_tokenizer(file: Path, folder: Path, max_length: int) -> None:
    """Write the tokenizer of `file` to `folder`, with its chat template."""
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    architecture, vocabulary, settings = get_gguf_tokenizer(str(file))
    backend, extra = convert_gguf_tokenizer(architecture, vocabulary)
    special = {name: value for name, value in (settings | extra).items() if value is not None}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=max_length, **special)
    tokenizer.save_pretrained(folder)


def _llama(name: str, tensor: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """Query and key rows are stored interleaved for llama.cpp's rotary embedding."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for part, num_heads in heads.items():
        if f".{part}." in name:
            halves = tensor.reshape(num_heads, tensor.shape[0] // num_heads // 2, 2, *tensor.shape[1:])
            return halves.swapaxes(1, 2).reshape(tensor.shape)
    return tensor


def _gemma(name: str, tensor: torch.Tensor, config: PreTrainedConfig) -> torch.Tensor:
    """Norm weights are stored as one plus the weight."""
    return tensor - 1 if "norm.weight" in name else tensor


FAMILIES = {"llama": Family("llama", _llama), "gemma3": Family("gemma3_text", _gemma)}
