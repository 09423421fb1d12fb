"""The shape of a language model: what its config.json says, its number of weights, and the size of its KV cache.

Written in a model's yaml, so that a plan can be made where neither the model nor a hub is at hand.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fusion.errors import ConfigError

BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "fp8": 1}
"""Bytes of one number, by dtype or way of quantising."""


@dataclass(kw_only=True)
class Shape:
    """A decoder with gated MLPs and grouped-query attention: Llama, Mistral, Qwen2, Gemma 2 and 3.

    Example yaml (Llama-3.2-1B):
        shape: {layers: 16, hidden: 2048, heads: 32, kv_heads: 8, head_dim: 64, intermediate: 8192, vocab: 128256,
                tied_embeddings: true, context: 131072}
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    """Width of the MLP."""
    vocab: int
    """Rows of the embedding matrix, padding included."""
    context: int
    """Longest sequence, in tokens."""
    tied_embeddings: bool = False
    """Whether there is no output matrix: it is the embedding's, or the model is a reward model without one."""
    qkv_bias: bool = False
    """Query, key and value projections have biases (Qwen2)."""
    norms_per_layer: int = 2
    """4 in Gemma, which also normalises after attention and after the MLP."""
    qk_norm: bool = False
    """Queries and keys are normalised, each with head_dim weights (Gemma 3)."""
    sliding_window: int = 0
    """Tokens that a layer with local attention looks back; 0: there are no such layers."""
    full_attention_every: int = 1
    """With a sliding window: each so many-th layer looks back at everything (Gemma 2: 2, Gemma 3: 6)."""
    extra_parameters: int = 0
    """Weights beside the decoder, such as the heads of a reward model."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, low = getattr(self, field.name), 0 if hasattr(Shape, field.name) else 1
            if value < low:
                raise ConfigError(f"shape.{field.name} must be at least {low}, got {value}")
        if self.heads % self.kv_heads:
            raise ConfigError(f"shape.heads ({self.heads}) must be a multiple of shape.kv_heads ({self.kv_heads})")
        if self.full_attention_every < 1:
            raise ConfigError(f"shape.full_attention_every must be at least 1, got {self.full_attention_every}")

    @property
    def parameters(self) -> int:
        """Weights, as the safetensors files hold them.

        V·H embedding (twice where the output matrix is another) + H final norm + per layer: q and o 2·H·A·d, k and v
        2·H·K·d, biases (A + 2K)·d, MLP 3·H·I, norms; with A heads, K key-value heads of d dimensions.
        """
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = 2 * self.hidden * (q + kv) + (q + 2 * kv if self.qkv_bias else 0)
        norms = self.norms_per_layer * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        layer = attention + 3 * self.hidden * self.intermediate + norms
        embeddings = (1 if self.tied_embeddings else 2) * self.vocab * self.hidden
        return embeddings + self.layers * layer + self.hidden + self.extra_parameters

    @property
    def full_attention_layers(self) -> int:
        """Layers whose KV cache grows with the sequence."""
        return self.layers // self.full_attention_every if self.sliding_window else self.layers

    def weight_bytes(self, dtype: str = "bfloat16") -> int:
        """Raises:
        ConfigError: a dtype of unknown size.
        """
        return self.parameters * bytes_of(dtype)

    def kv_bytes_per_token(self, dtype: str = "bfloat16") -> int:
        """KV cache of one token in all layers: 2 (key and value) · layers · K · d · bytes; no window is full yet."""
        return 2 * self.layers * self.kv_heads * self.head_dim * bytes_of(dtype)

    def kv_bytes(self, tokens: int, dtype: str = "bfloat16") -> int:
        """KV cache of one sequence of `tokens`: layers with a sliding window keep no more than the window."""
        windowed = self.layers - self.full_attention_layers
        held = self.full_attention_layers * tokens + windowed * min(tokens, self.sliding_window)
        return held * (self.kv_bytes_per_token(dtype) // self.layers)


def bytes_of(dtype: str) -> int:
    """Bytes of one number.

    Raises:
        ConfigError: unknown; lists those that are known.
    """
    if dtype not in BYTES:
        raise ConfigError(f"the size of dtype {dtype!r} is not known; known are {', '.join(BYTES)}")
    return BYTES[dtype]


@dataclass(frozen=True, slots=True)
class _Family:
    """What config.json leaves unsaid, by model type."""

    tied: bool = False
    qkv_bias: bool = False
    norms: int = 2
    qk_norm: bool = False
    head_dim: int = 0
    full_attention_every: int = 1


FAMILIES = {
    "llama": _Family(),
    "mistral": _Family(),
    "qwen2": _Family(qkv_bias=True),
    "gemma2": _Family(tied=True, norms=4, head_dim=256, full_attention_every=2),
    "gemma3_text": _Family(tied=True, norms=4, qk_norm=True, head_dim=256, full_attention_every=6),
}


def shape_of(folder: Path) -> Shape:
    """The shape that a model folder's config.json says.

    Raises:
        ConfigError: there is none, it lacks an entry, or its model type is not known here.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"{folder} holds no config.json, so it is no model")
    whole: Mapping[str, object] = json.loads(path.read_text("utf-8"))
    config = cast("Mapping[str, object]", whole.get("text_config", whole))
    kind = str(config.get("model_type", whole.get("model_type")))
    family = FAMILIES.get(kind)
    if family is None:
        raise ConfigError(f"{path}: the shape of model type {kind!r} is not known; known are {', '.join(FAMILIES)}")
    try:
        return _shape(config, family)
    except KeyError as error:
        raise ConfigError(f"{path} has no {error.args[0]}, which the shape of a {kind} needs") from error


def _shape(config: Mapping[str, object], family: _Family) -> Shape:
    def number(name: str) -> int:
        return int(cast(int, config[name]))

    hidden, heads, layers = number("hidden_size"), number("num_attention_heads"), number("num_hidden_layers")
    # Qwen2 names a window that it does not use.
    window = cast("int | None", config.get("sliding_window")) if config.get("use_sliding_window", True) else None
    kinds = cast("list[str]", config.get("layer_types") or [])
    full = kinds.count("full_attention")
    return Shape(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=cast("int | None", config.get("num_key_value_heads")) or heads,
        head_dim=cast("int | None", config.get("head_dim")) or family.head_dim or hidden // heads,
        intermediate=number("intermediate_size"),
        vocab=number("vocab_size"),
        context=number("max_position_embeddings"),
        tied_embeddings=bool(config.get("tie_word_embeddings", family.tied)),
        qkv_bias=bool(config.get("attention_bias", family.qkv_bias)),
        norms_per_layer=family.norms,
        qk_norm=family.qk_norm,
        sliding_window=window or 0,
        full_attention_every=layers // full if window and full else family.full_attention_every if window else 1,
    )


def check_shape(shape: Shape, folder: Path) -> None:
    """That the shape in a model's yaml is the one of its files.

    A `tied_embeddings` that says "no output matrix" of a reward model and `extra_parameters` are the yaml's alone.

    Raises:
        ConfigError: naming each entry that differs, with the value to type.
    """
    found = shape_of(folder)
    alone = {"extra_parameters"} | ({"tied_embeddings"} if shape.extra_parameters else set())
    names = [field.name for field in dataclasses.fields(Shape) if field.name not in alone]
    wrong = [name for name in names if getattr(shape, name) != getattr(found, name)]
    if wrong:
        told = "; ".join(f"shape.{name} is {getattr(shape, name)}, set it to {getattr(found, name)}" for name in wrong)
        raise ConfigError(f"the shape of the model in {folder} is another than its yaml says: {told}")
