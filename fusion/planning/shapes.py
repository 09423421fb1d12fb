"""The shape of a language model: what its config.json says, its number of weights, and the size of its KV cache.

Written in a model's yaml, so that a plan can be made where neither the model nor a hub is at hand.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fusion.errors import ConfigError

BYTES = {"bfloat16": 2, "float16": 2, "float32": 4, "fp8": 1}
"""Bytes of one number, by dtype or way of quantising."""


@dataclass(kw_only=True)
class Experts:
    """A mixture of experts: gated MLPs, some of which a router chooses for each token."""

    routed: int
    """Among which the router chooses."""
    active: int
    """Of those, how many work on a token."""
    intermediate: int
    """Width of one."""
    shared: int = 0
    """Beside those: work on every token."""
    dense_layers: int = 0
    """First layers that have a plain MLP instead."""

    def __post_init__(self) -> None:
        _demand_whole(self, Experts, "shape.experts")
        if self.active > self.routed:
            raise ConfigError(f"shape.experts.active ({self.active}) is above shape.experts.routed ({self.routed})")


@dataclass(kw_only=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2): one vector a token, small and the same for all heads, is kept in the
    place of keys and values."""

    kv_rank: int
    """Length of that vector, without its rotary part."""
    rope_dim: int
    """Rotary dimensions of a query and a key, beside head_dim without a position."""
    value_dim: int
    """Of a head."""
    q_rank: int = 0
    """Length of what queries are made from; 0: from the hidden state itself."""

    def __post_init__(self) -> None:
        _demand_whole(self, Latent, "shape.latent")

    def parameters(self, hidden: int, heads: int, head_dim: int) -> int:
        """Of one layer: queries, down and up again; keys and values, the same; norms between; the output."""
        query = heads * (head_dim + self.rope_dim)
        queries = self.q_rank * (hidden + 1 + query) if self.q_rank else hidden * query
        down = hidden * (self.kv_rank + self.rope_dim) + self.kv_rank
        return queries + down + self.kv_rank * heads * (head_dim + self.value_dim) + heads * self.value_dim * hidden


@dataclass(kw_only=True)
class Shape:
    """A decoder with gated MLPs and grouped-query attention: Llama, Mistral, Qwen2, Gemma 2 and 3; with `experts` also
    Mixtral, with these and `latent` attention DeepSeek-V2.

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
    experts: Experts | None = None
    latent: Latent | None = None

    def __post_init__(self) -> None:
        _demand_whole(self, Shape, "shape")
        if self.heads % self.kv_heads:
            raise ConfigError(f"shape.heads ({self.heads}) must be a multiple of shape.kv_heads ({self.kv_heads})")
        if self.full_attention_every < 1:
            raise ConfigError(f"shape.full_attention_every must be at least 1, got {self.full_attention_every}")

    @property
    def parameters(self) -> int:
        """Weights, as the safetensors files hold them.

        V·H embedding (twice where the output matrix is another) + H final norm + per layer: q and o 2·H·A·d, k and v
        2·H·K·d, biases (A + 2K)·d, MLP 3·H·I, norms; with A heads, K key-value heads of d dimensions. A mixture of E
        experts of width J, and S shared ones, has H·E + 3·H·J·(E + S) for an MLP.
        """
        norms = self.norms_per_layer * self.hidden + (2 * self.head_dim if self.qk_norm else 0)
        embeddings = (1 if self.tied_embeddings else 2) * self.vocab * self.hidden
        layers = self.layers * (self._attention_parameters + norms) + self._mlp_parameters
        return embeddings + layers + self.hidden + self.extra_parameters

    @property
    def _attention_parameters(self) -> int:
        if self.latent is not None:
            return self.latent.parameters(self.hidden, self.heads, self.head_dim)
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return 2 * self.hidden * (q + kv) + (q + 2 * kv if self.qkv_bias else 0)

    @property
    def _mlp_parameters(self) -> int:
        """Of all layers."""
        mixed = self._mixed_layers
        total = (self.layers - mixed) * 3 * self.hidden * self.intermediate
        if self.experts is not None:
            every = self.experts.routed + self.experts.shared
            total += mixed * self.hidden * (self.experts.routed + 3 * self.experts.intermediate * every)
        return total

    @property
    def _mixed_layers(self) -> int:
        return self.layers - self.experts.dense_layers if self.experts is not None else 0

    @property
    def active_parameters(self) -> int:
        """Weights that work on a token: all but the experts that were not chosen for it, and the embedding table, which
        is only looked up (a tied one counts once, as the output matrix)."""
        looked_up = 0 if self.tied_embeddings else self.vocab * self.hidden
        if self.experts is None:
            return self.parameters - looked_up
        idle = (self.experts.routed - self.experts.active) * 3 * self.hidden * self.experts.intermediate
        return self.parameters - looked_up - self._mixed_layers * idle

    @property
    def mlp_width(self) -> int:
        """Of the MLP of a layer, or of the experts together that work on a token, whichever is wider."""
        experts = self.experts
        mixed = (experts.active + experts.shared) * experts.intermediate if experts is not None else 0
        return max(mixed, self.intermediate)

    @property
    def q_width(self) -> int:
        """Queries of all heads; also what attention gives, or more."""
        return self.heads * (self.head_dim + (self.latent.rope_dim if self.latent is not None else 0))

    @property
    def kv_width(self) -> int:
        """Keys and values of all heads, as attention computes with them."""
        if self.latent is None:
            return 2 * self.kv_heads * self.head_dim
        return self.heads * (self.head_dim + self.latent.rope_dim + self.latent.value_dim)

    @property
    def kv_parts(self) -> int:
        """Into how many parts GPUs can divide the KV cache among themselves; beyond, it is copied."""
        return self.kv_heads if self.latent is None else 1

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
        """KV cache of one token in all layers: 2 (key and value) · layers · K · d · bytes; no window is full yet. Of
        latent attention the vector and its rotary part."""
        kept = 2 * self.kv_heads * self.head_dim if self.latent is None else self.latent.kv_rank + self.latent.rope_dim
        return self.layers * kept * bytes_of(dtype)

    def kv_bytes(self, tokens: int, dtype: str = "bfloat16") -> int:
        """KV cache of one sequence of `tokens`: layers with a sliding window keep no more than the window."""
        windowed = self.layers - self.full_attention_layers
        held = self.full_attention_layers * tokens + windowed * min(tokens, self.sliding_window)
        return held * (self.kv_bytes_per_token(dtype) // self.layers)


def _demand_whole(part: object, cls: type, where: str) -> None:
    """Raises:
    ConfigError: a number is below 1, or below 0 where it has a default.
    """
    for field in dataclasses.fields(cls):
        value, low = getattr(part, field.name), 0 if hasattr(cls, field.name) else 1
        if isinstance(value, int) and value < low:
            raise ConfigError(f"{where}.{field.name} must be at least {low}, got {value}")


def bytes_of(dtype: str) -> int:
    """Bytes of one number.

    Raises:
        ConfigError: unknown; lists those that are known.
    """
    if dtype not in BYTES:
        raise ConfigError(f"the size of dtype {dtype!r} is not known; known are {', '.join(BYTES)}")
    return BYTES[dtype]
