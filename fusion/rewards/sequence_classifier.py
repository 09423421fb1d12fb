"""Reward models with one score: any checkpoint of `AutoModelForSequenceClassification` with a single label.

For reward models with a head of their own (ArmoRM) this loader is wrong and refuses: a head that is not in the
checkpoint would be drawn at random and score every response alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.models import ModelRef, resolve
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.length_batches import length_batches
from fusion.schema import Outcome
from fusion.step import Placement

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from fusion.chat import Renderer


class Precision(Choice):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(kw_only=True)
class SequenceClassifier(Reward):
    """The score of the conversation, read at its last token.

    Example: value 3.25 (scores have no unit; differences between responses to one prompt are what counts)
    """

    uses_model: ClassVar[bool] = True

    model: ModelRef = field(default_factory=ModelRef)
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
        yield _ClassifierScorer(model.to("cuda" if placement.gpus else "cpu"), renderer, self.token_budget)


def load_classifier(folder: Path, precision: Precision, trust_remote_code: bool = False) -> PreTrainedModel:
    """A classifier with one label and its trained head.

    Raises:
        ConfigError: it has another number of labels, or its head is not in the checkpoint.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    model, loading = AutoModelForSequenceClassification.from_pretrained(
        folder,
        dtype=getattr(torch, precision.value),
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
    )
    if missing := sorted(loading["missing_keys"]):
        raise ConfigError(
            f"{folder} has no trained score head: {', '.join(missing[:3])} is not in its files; it is no reward model "
            "of this kind (likelihood scores with a plain language model)"
        )
    if model.config.num_labels != 1:
        raise ConfigError(f"{folder} scores {model.config.num_labels} labels; a reward model of this kind has one")
    _score_in_fp32(model)
    return model


def _score_in_fp32(model: PreTrainedModel) -> None:
    def widen(module: nn.Module, inputs: tuple[object, ...]) -> tuple[object, ...]:
        return (inputs[0].float(), *inputs[1:])  # type: ignore[attr-defined]

    for name in ("score", "classifier"):
        head = getattr(model, name, None)
        if head is not None:
            head.float()
            head.register_forward_pre_hook(widen)


class _ClassifierScorer:
    def __init__(self, model: PreTrainedModel, renderer: Renderer, token_budget: int) -> None:
        self._model = model.eval()
        self._renderer = renderer
        self._token_budget = token_budget
        self._pad_id = model.config.get_text_config().pad_token_id
        self._max_length = int(model.config.get_text_config().max_position_embeddings)

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        rendered = [self._rendered(candidate) for candidate in candidates]
        distinct = [ids for ids in dict.fromkeys(rendered) if len(ids) <= self._max_length]
        values: dict[tuple[int, ...], float] = {}
        for batch in length_batches([len(ids) for ids in distinct], self._token_budget):
            rows = [distinct[i] for i in batch]
            values |= zip(rows, self._values(rows), strict=True)
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
        ids_BT = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=self._model.device)
        mask_BT = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self._model.device)
        with torch.inference_mode():
            scores_B1 = self._model(input_ids=ids_BT, attention_mask=mask_BT).logits
        return [float(value) for value in scores_B1.float().squeeze(-1)]

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
