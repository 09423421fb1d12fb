"""The shape that a model folder's config.json says, and whether a model's yaml says the same."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from fusion.errors import ConfigError
from fusion.planning.shapes import Experts, Latent, Shape


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
    "mixtral": _Family(),
    "deepseek_v2": _Family(),
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
        head_dim=_head_dim(config) or family.head_dim or hidden // heads,
        intermediate=number("intermediate_size"),
        vocab=number("vocab_size"),
        context=number("max_position_embeddings"),
        tied_embeddings=bool(config.get("tie_word_embeddings", family.tied)),
        qkv_bias=bool(config.get("attention_bias", family.qkv_bias)),
        norms_per_layer=family.norms,
        qk_norm=family.qk_norm,
        sliding_window=window or 0,
        full_attention_every=layers // full if window and full else family.full_attention_every if window else 1,
        experts=_experts(config),
        latent=_latent(config),
    )


def _head_dim(config: Mapping[str, object]) -> int | None:
    """DeepSeek calls head_dim what is rotary of it."""
    return cast("int | None", config.get("qk_nope_head_dim", config.get("head_dim")))


def _experts(config: Mapping[str, object]) -> Experts | None:
    """By Mixtral's names, or DeepSeek's; None: there are none."""
    found = cast("dict[str, int]", config)
    if "num_local_experts" in config:
        routed, active = found["num_local_experts"], found["num_experts_per_tok"]
        return Experts(routed=routed, active=active, intermediate=found["intermediate_size"])
    if not config.get("n_routed_experts"):
        return None
    return Experts(
        routed=found["n_routed_experts"],
        active=found["num_experts_per_tok"],
        intermediate=found["moe_intermediate_size"],
        shared=found["n_shared_experts"] or 0,
        dense_layers=found["first_k_dense_replace"],
    )


def _latent(config: Mapping[str, object]) -> Latent | None:
    found = cast("dict[str, int]", config)
    if "kv_lora_rank" not in config:
        return None
    return Latent(
        kv_rank=found["kv_lora_rank"],
        rope_dim=found["qk_rope_head_dim"],
        value_dim=found["v_head_dim"],
        q_rank=found["q_lora_rank"] or 0,
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
