"""Whether checkpoints can be merged, tensor by tensor, and the reason where they cannot.

Averaging weights says something only where the same place means the same thing in every model: one architecture, the
same heads, the same token in a row of the embedding. Each of these is looked at before anything is written. What
differs and does not forbid a merge becomes a notice; the base's setting is the output's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.merging.checkpoint import Stored, tensors_of
from fusion.merging.vocabulary import disagreements

EMBEDDING = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")
"""How names of an embedding end."""
OUTPUT_MATRIX = "lm_head.weight"
MEANING = ("num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act", "num_experts_per_tok")
"""Settings that change what equal shapes mean: they must agree."""
BEHAVIOUR = (
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "rms_norm_eps",
    "sliding_window",
    "max_position_embeddings",
)
"""Settings of which the base's is taken, with a notice."""
BUFFERS = ("inv_freq", "masked_bias", "attn.bias")
"""Endings of tensors that are computed, not learned; old checkpoints hold them."""


class Rows(Choice):
    """What is done where a model's vocabulary has more or fewer rows than the base's."""

    REFUSE = "refuse"
    BASE = "base"
    """The base's rows are kept: a model's further rows are left out, and where it has none it changes nothing (as the
    fork of mergekit by FuseChat's authors does)."""


@dataclass(frozen=True)
class Checkpoint:
    """One model to merge."""

    name: str
    """As messages call it."""
    folder: Path

    @cached_property
    def tensors(self) -> dict[str, Stored]:
        return tensors_of(self.folder)

    @cached_property
    def config(self) -> dict[str, object]:
        path = self.folder / "config.json"
        if not path.is_file():
            raise ConfigError(f"{self.folder} holds no config.json, so it is no model")
        config = dict(json.loads(path.read_text("utf-8")))
        return dict(config.get("text_config") or {}) | {k: v for k, v in config.items() if k != "text_config"}

    @property
    def is_tied(self) -> bool:
        """Whether the output matrix is the embedding."""
        return bool(self.config.get("tie_word_embeddings", OUTPUT_MATRIX not in self.tensors))

    @cached_property
    def weights(self) -> dict[str, Stored]:
        """Tensors that are the model's: no computed buffers, and a tied output matrix not a second time."""
        tied = OUTPUT_MATRIX if self.is_tied and self.embedding else None
        return {n: s for n, s in self.tensors.items() if n != tied and not n.endswith(BUFFERS)}

    @property
    def embedding(self) -> str | None:
        return next((name for name in self.tensors if name.endswith(EMBEDDING)), None)


@dataclass(frozen=True)
class Matched:
    """What is read for each of the base's tensors."""

    base: Mapping[str, Stored]
    models: tuple[Mapping[str, Stored], ...]
    notices: tuple[str, ...]


def match(base: Checkpoint, models: Sequence[Checkpoint], rows: Rows) -> Matched:
    """Find every tensor of the base in every model.

    Raises:
        ConfigError: the models cannot be merged; names the model, the place and the reason.
    """
    notices: list[str] = []
    found = []
    for model in models:
        notices += _check_settings(base, model)
        found.append(_weights_of(base, model, rows))
        notices += _check_tokens(base, model)
    return Matched(base.weights, tuple(found), tuple(dict.fromkeys(notices)))


def _check_settings(base: Checkpoint, model: Checkpoint) -> list[str]:
    kinds = base.config.get("model_type"), model.config.get("model_type")
    if kinds[0] != kinds[1]:
        raise ConfigError(
            f"{model.name} is a {kinds[1]} model and {base.name} a {kinds[0]} model; only weights of one architecture "
            "can be merged (others are fused by training: experiment=fusechat3)"
        )
    for key in MEANING:
        if (ours := base.config.get(key)) != (theirs := model.config.get(key)):
            raise ConfigError(
                f"{key} is {theirs} in {model.name} and {ours} in {base.name}: their weights do not match"
            )
    return [
        f"{key} is {theirs} in {model.name}; the output has {base.name}'s, {ours}"
        for key in BEHAVIOUR
        if (ours := base.config.get(key)) != (theirs := model.config.get(key))
    ]


def _weights_of(base: Checkpoint, model: Checkpoint, rows: Rows) -> dict[str, Stored]:
    theirs = dict(model.weights)
    if OUTPUT_MATRIX in base.weights and model.is_tied and model.embedding:
        theirs[OUTPUT_MATRIX] = theirs[model.embedding]
    if OUTPUT_MATRIX in theirs and OUTPUT_MATRIX not in base.weights:
        raise ConfigError(
            f"{model.name} has an output matrix of its own ({OUTPUT_MATRIX}), which {base.name} ties to its embedding; "
            "the merged model has no place for it. Take a base with an output matrix of its own"
        )
    missing, extra = sorted(base.weights.keys() - theirs.keys()), sorted(theirs.keys() - base.weights.keys())
    if missing or extra:
        lacks = f"lacks {len(missing)} tensors of {base.name} (e.g. {missing[0]})" if missing else ""
        has = f"has {len(extra)} that {base.name} lacks (e.g. {extra[0]})" if extra else ""
        raise ConfigError(f"{model.name} {' and '.join(filter(None, (lacks, has)))}; they are not of one architecture")
    for name, ours in base.weights.items():
        if theirs[name].shape != ours.shape:
            _check_rows(base, model, name, theirs[name], rows)
    return {name: theirs[name] for name in base.weights}


def _check_rows(base: Checkpoint, model: Checkpoint, name: str, theirs: Stored, rows: Rows) -> None:
    """Raises:
    ConfigError: the shapes differ in more than rows of a vocabulary, or rows may not differ.
    """
    ours = base.weights[name]
    per_token = ours.shape[0] == base.config.get("vocab_size") and theirs.shape[0] == model.config.get("vocab_size")
    shapes = f"{name} is {list(theirs.shape)} in {model.name} and {list(ours.shape)} in {base.name}"
    if not per_token or theirs.shape[1:] != ours.shape[1:]:
        raise ConfigError(f"{shapes}: only models of one size can be merged")
    if rows is Rows.REFUSE:
        raise ConfigError(
            f"{shapes}: their vocabularies have different sizes. If tokens agree and only padding or added tokens "
            "differ, keep the base's rows: --rows base (recipes: merge_output.rows=base)"
        )


def _check_tokens(base: Checkpoint, model: Checkpoint) -> list[str]:
    learned, added = disagreements(base.folder, model.folder)
    if learned:
        examples = "; ".join(f"{id_}: {theirs!r}, not {ours!r}" for id_, ours, theirs in learned[:3])
        raise ConfigError(
            f"{len(learned)} rows of the embedding stand for other tokens in {model.name} than in {base.name} "
            f"({examples}); averaging them gives garbage. Models of other tokenizers are fused by training"
        )
    if not added:
        return []
    examples = "; ".join(f"{id_}: {theirs!r}, {base.name} has {ours!r}" for id_, ours, theirs in added[:3])
    return [f"{model.name} has {len(added)} other special tokens ({examples}); their rows are merged by position"]
