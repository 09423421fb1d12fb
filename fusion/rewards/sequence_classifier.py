"""Reward models with a generic head: any checkpoint of `AutoModelForSequenceClassification`, one label of it.

For reward models with a head of their own (ArmoRM) this loader is wrong and refuses: a head that is not in the
checkpoint would be drawn at random and score every response alike, and tensors that it does not read would be left out
of the score.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.models import ModelRef, resolve
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.length_batches import in_length_batches
from fusion.schema import Outcome
from fusion.step import Placement

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from fusion.chat import Renderer

UNREAD = re.compile(r"lm_head\.|.*\.inv_freq$")
"""Tensors that a checkpoint may hold beside its score: a language model's head, and what is computed anyway."""


class Precision(Choice):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(kw_only=True)
class SequenceClassifier(Reward):
    """The score of the conversation, read at its last token.

    Example: value 3.25 (scores have no unit; differences between responses to one prompt are what counts)
    """

    uses_model: ClassVar[bool] = True
    is_gated: ClassVar[bool] = True

    model: ModelRef = field(default_factory=ModelRef)
    label: str = ""
    """Which label of the head is the score: a name in the checkpoint's id2label, or a number. A head with one label
    needs none; a head with several is refused without it."""
    precision: Precision = Precision.FLOAT32
    """Of the body; the score is computed in fp32, because bf16 has steps of 0.03 near 4. In bf16 scores depend on
    their batch by rounding."""
    token_budget: int = field(default=8192, metadata={"identity": False})
    """Tokens of a batch, padding included; changes speed and memory only."""

    def __post_init__(self) -> None:
        if self.token_budget < 1:
            raise ConfigError(f"rewards.sequence_classifier.token_budget must be at least 1, got {self.token_budget}")

    def resolve(self) -> None:
        resolve(self.model)

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        from fusion.chat import Renderer  # loads a tokenizer library, of use to a worker only
        from fusion.modelfiles import prepare

        folder = prepare(self.model, Path(cache))
        renderer = Renderer.load(folder, self.model.chat, self.model.trust_remote_code)
        model = load_classifier(folder, self.precision, self.model.trust_remote_code)
        index = label_index(model.config.id2label, self.label, str(folder))
        yield _ClassifierScorer(model.to("cuda" if placement.gpus else "cpu"), renderer, index, self.token_budget)


def load_classifier(folder: Path, precision: Precision, trust_remote_code: bool = False) -> PreTrainedModel:
    """A classifier with its trained head, and nothing beside it.

    Raises:
        ConfigError: a tensor that scores is not in the files, has another shape, or a tensor in them is not read.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    model, loading = AutoModelForSequenceClassification.from_pretrained(
        folder,
        dtype=getattr(torch, precision.value),
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    if missing := sorted(loading["missing_keys"]):
        raise ConfigError(
            f"{folder} has no trained score head: {', '.join(missing)} would be drawn at random, not being in its "
            "files; it is no reward model of this kind (likelihood scores with a plain language model, armorm with "
            "ArmoRM)"
        )
    if mismatched := sorted(str(entry[0]) for entry in loading["mismatched_keys"]):
        raise ConfigError(
            f"{folder}: {', '.join(mismatched)} in its files has another shape than its config.json says; mend "
            "num_labels (or id2label) there"
        )
    if unread := sorted(name for name in loading["unexpected_keys"] if not UNREAD.match(name)):
        raise ConfigError(
            f"{folder} holds {', '.join(unread[:5])} ({len(unread)} in all), which a generic score head does not read: "
            "its score would leave them out; use the loader that it was published with"
        )
    _score_in_fp32(model)
    return model


def label_index(labels: Mapping[int, str], wanted: str, name: str) -> int:
    """Which output of the head is the score.

    Raises:
        ConfigError: there are several and none is named, or the one named is not there.
    """
    if not wanted and len(labels) == 1:
        return 0
    found = [index for index, label in labels.items() if wanted in (label, str(index))]
    if len(found) != 1:
        listed = ", ".join(f"{index}: {label}" for index, label in sorted(labels.items()))
        problem = f"has no label {wanted!r}" if wanted else f"scores {len(labels)} labels and none is named"
        raise ConfigError(f"{name} {problem}; set rewards.sequence_classifier.label to one of {listed}")
    return found[0]


def _score_in_fp32(model: PreTrainedModel) -> None:
    def widen(module: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
        return (inputs[0].float(), *inputs[1:])  # type: ignore[attr-defined]

    for name in ("score", "classifier"):
        head = getattr(model, name, None)
        if head is not None:
            head.float()
            head.register_forward_pre_hook(widen)


class _ClassifierScorer:
    def __init__(self, model: PreTrainedModel, renderer: Renderer, index: int, token_budget: int) -> None:
        self._model = model.eval()
        self._renderer = renderer
        self._index = index
        self._token_budget = token_budget
        self._pad_id = model.config.get_text_config().pad_token_id
        self._max_length = int(model.config.get_text_config().max_position_embeddings)
        # Decoders pool the last token that is not padding, wherever that stands; encoders their first one.
        self.padding_side = "right" if hasattr(model, "score") else None

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        rendered = [self._rendered(candidate) for candidate in candidates]
        fit = [ids for ids in rendered if len(ids) <= self._max_length]
        values = in_length_batches(fit, len, self._token_budget, self._values)
        return [self._scored(ids, values.get(ids)) for ids in rendered]

    def _rendered(self, candidate: Candidate) -> tuple[int, ...]:
        prompt = self._renderer.prompt_ids(candidate.messages, candidate.domain)
        return (*prompt, *self._renderer.response_ids(candidate.text))

    def _values(self, rows: Sequence[tuple[int, ...]]) -> list[float]:
        import torch

        pad = self._pad_for(rows)
        # The model finds the last token of a row by its pad id.
        self._model.config.get_text_config().pad_token_id = pad
        width = max(map(len, rows))
        ids_BT = torch.tensor([self._padded(row, pad, width) for row in rows], device=self._model.device)
        mask_BT = torch.tensor([self._padded([1] * len(row), 0, width) for row in rows], device=self._model.device)
        with torch.inference_mode():
            scores_BK = self._model(input_ids=ids_BT, attention_mask=mask_BT).logits
        return [float(value) for value in scores_BK[:, self._index].float()]

    def _padded(self, row: Sequence[int], filler: int, width: int) -> list[int]:
        padding = [filler] * (width - len(row))
        return [*padding, *row] if self.padding_side == "left" else [*row, *padding]

    def _pad_for(self, rows: Sequence[tuple[int, ...]]) -> int:
        """The model's pad id; where it has none, an id that no row holds, so that no real token counts as padding."""
        if self._pad_id is not None:
            return int(self._pad_id)
        held = {token for row in rows for token in row}
        return next(token for token in range(len(held) + 1) if token not in held)

    def _scored(self, ids: tuple[int, ...], value: float | None) -> Score:
        if value is None:
            return Score(Outcome.ERROR, None, f"{len(ids)} tokens, over the {self._max_length} that the model reads")
        return Score(Outcome.NOT_APPLICABLE, value)
