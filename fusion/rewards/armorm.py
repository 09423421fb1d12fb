"""ArmoRM (RLHFlow/ArmoRM-Llama3-8B-v0.1; arXiv 2406.12845): several objectives, mixed by a gate that reads the prompt.

It is the reward model of FuseChat-3.0, whose margins of 0.01 to 0.10 are on its scale (about 0 to 0.2). The body is a
Llama of transformers, the head is computed here in fp32, and no code of the checkpoint runs. A loader that puts a
`score` head on it instead draws that at random and gives about -2 for everything; such a checkpoint is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fusion.errors import ConfigError
from fusion.models import ModelRef, model_facts, resolve
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.length_batches import in_length_batches
from fusion.rewards.sequence_classifier import Precision
from fusion.schema import Outcome
from fusion.step import Placement

if TYPE_CHECKING:
    from transformers import LlamaModel

    from fusion.chat import Renderer
    from fusion.rewards.armorm_head import ArmoHead

PUBLISHED_GATE_PATTERN = (128009, 128006, 78191, 128007, 271)
"""`<|eot_id|><|start_header_id|>assistant<|end_header_id|>\\n\\n` of Llama 3: where the published gate was trained."""
NUM_NAMED = 3
"""Objectives that a score's detail names."""


@dataclass(kw_only=True)
class ArmoRM(Reward):
    """Score of the conversation, read at its last token; the gate is read where the last prompt turn ends.

    Example: value 0.1328, detail "code-style +0.0712, ultrafeedback-honesty +0.0310, helpsteer-verbosity -0.0104" (the
    objectives that moved the score most; they add up to it)
    """

    uses_model: ClassVar[bool] = True
    is_gated: ClassVar[bool] = True

    model: ModelRef = field(default_factory=ModelRef)
    precision: Precision = Precision.FLOAT32
    """Of the body; the head is computed in fp32. Published scores are of bf16, in which they depend on their batch by
    rounding."""
    max_length: int = 4096
    """Tokens of a conversation. The model was trained on no longer ones, so a longer one is an error; it is not cut."""
    gate_pattern: list[int] = field(default_factory=list)
    """Ids at whose last occurrence the gate is read; empty: those with which the tokenizer's own template ends a prompt
    (for the published checkpoint 128009, 128006, 78191, 128007, 271)."""
    token_budget: int = field(default=8192, metadata={"identity": False})
    """Tokens of a batch, padding included; changes speed and memory only."""

    def __post_init__(self) -> None:
        for name in ("max_length", "token_budget"):
            if getattr(self, name) < 1:
                raise ConfigError(f"rewards.armorm.{name} must be at least 1, got {getattr(self, name)}")

    def resolve(self) -> None:
        resolve(self.model)

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        from fusion.chat import Renderer
        from fusion.modelfiles import prepare
        from fusion.rewards.armorm_head import ArmoHead

        folder = prepare(self.model, Path(cache))
        device = "cuda" if placement.gpus else "cpu"
        head = ArmoHead.load(folder, device)
        renderer = Renderer.load(folder, self.model.chat)
        body = load_body(folder, self.precision).to(device)
        yield ArmoScorer(body, head, renderer, self)


def load_body(folder: Path, precision: Precision) -> LlamaModel:
    """The Llama under the head, its final norm included.

    Raises:
        ConfigError: it is of another family, or some of its tensors are not in the files.
    """
    import torch
    from transformers import LlamaModel

    family = model_facts(folder).model_type
    if family != "llama":
        raise ConfigError(f"{folder} is a {family} model; armorm scores with a Llama under its head")
    # The heads are surplus to the body; `ArmoHead.load` has accounted for each of them.
    body, loading = LlamaModel.from_pretrained(
        folder, dtype=getattr(torch, precision.value), output_loading_info=True, trust_remote_code=False
    )
    if missing := sorted(loading["missing_keys"]):
        raise ConfigError(f"{folder} is incomplete: {', '.join(missing[:3])} ({len(missing)} in all) not in its files")
    return body


def prompt_end(renderer: Renderer) -> tuple[int, ...]:
    """The ids with which a template ends every prompt: end of the user's turn and start of the answer.

    Raises:
        ConfigError: it puts nothing there.
    """
    from fusion.chat import PROBE

    _, _, text = renderer.prompt_text([{"role": "user", "content": PROBE}]).rpartition(PROBE)
    ids = tuple(renderer.tokenizer(text, add_special_tokens=False)["input_ids"])
    if not ids:
        raise ConfigError(
            f"{renderer.name}: its chat template puts nothing between a user's turn and the answer, so the gate cannot "
            f"be placed; set rewards.armorm.gate_pattern, e.g. {list(PUBLISHED_GATE_PATTERN)} for Llama 3"
        )
    return ids


@dataclass(frozen=True, slots=True)
class _Conversation:
    ids: tuple[int, ...]
    gate_at: int


class ArmoScorer:
    """Scores of a loaded ArmoRM; `contributions` tells them apart by objective."""

    def __init__(self, body: LlamaModel, head: ArmoHead, renderer: Renderer, config: ArmoRM) -> None:
        self._body = body.eval()
        self._head = head
        self._renderer = renderer
        self._token_budget = config.token_budget
        self._max_length = min(config.max_length, int(body.config.max_position_embeddings))
        self._pattern = tuple(config.gate_pattern) or prompt_end(renderer)

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of what `contributions` lists."""
        return self._head.objectives

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._scored(found) for found in self.contributions(candidates)]

    def contributions(self, candidates: Sequence[Candidate]) -> list[list[float] | str]:
        """What each objective adds to the score of each candidate; or, for one that cannot be scored, why."""
        read = [self._conversation(candidate) for candidate in candidates]
        fit = [one for one in read if isinstance(one, _Conversation)]
        found = in_length_batches(fit, lambda one: len(one.ids), self._token_budget, self._evaluate)
        return [found[one] if isinstance(one, _Conversation) else one for one in read]

    def _conversation(self, candidate: Candidate) -> _Conversation | str:
        prompt = self._renderer.prompt_ids(candidate.messages, candidate.domain)
        # The model's template strips what is said; with the strip, prompt and answer are its ids of the whole.
        ids = (*prompt, *self._renderer.response_ids(candidate.text.strip()))
        if len(ids) > self._max_length:
            return f"{len(ids)} tokens, over the {self._max_length} of rewards.armorm.max_length or the model"
        width = len(self._pattern)
        starts = range(len(ids) - width, -1, -1)
        at = next((i for i in starts if ids[i : i + width] == self._pattern), None)
        if at is None:
            return f"the ids {list(self._pattern)}, where the gate is read, do not occur in the conversation"
        if at >= len(prompt):
            return f"the answer holds the ids {list(self._pattern)}; the gate would read the answer, not the prompt"
        return _Conversation(ids, at)

    def _evaluate(self, batch: Sequence[_Conversation]) -> list[list[float]]:
        import torch

        width = max(len(one.ids) for one in batch)
        # No mask: padding stands on the right, where causal attention does not look, and no padded state is read.
        rows = [[*one.ids, *[0] * (width - len(one.ids))] for one in batch]
        rows_B = torch.arange(len(batch), device=self._body.device)
        last_B = torch.tensor([len(one.ids) - 1 for one in batch], device=self._body.device)
        gate_B = torch.tensor([one.gate_at for one in batch], device=self._body.device)
        with torch.inference_mode():
            ids_BT = torch.tensor(rows, device=self._body.device)
            hidden_BTH = self._body(input_ids=ids_BT, use_cache=False).last_hidden_state
            found_BK = self._head.contributions(hidden_BTH[rows_B, last_B], hidden_BTH[rows_B, gate_B])
        return [[float(value) for value in row] for row in found_BK]

    def _scored(self, found: list[float] | str) -> Score:
        if isinstance(found, str):
            return Score(Outcome.ERROR, None, found)
        moved = sorted(zip(self.objectives, found, strict=True), key=lambda pair: -abs(pair[1]))[:NUM_NAMED]
        detail = ", ".join(f"{name} {value:+.4f}" for name, value in moved)
        return Score(Outcome.NOT_APPLICABLE, sum(found), detail)
