"""How likely a response is under a model: a reward that needs no trained reward model.

With the target as the model it says how natural a response is to the one who is to learn it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fusion.errors import ConfigError
from fusion.models import ModelRef, resolve
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.schema import Outcome
from fusion.step import Placement

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from fusion.chat import Renderer


@dataclass(kw_only=True)
class Likelihood(Reward):
    """Log-probability of the response and its end of turn, in nats; the model runs in fp32.

    Equal texts get equal values. A prompt and response that exceed the model's context are an error, not cut.

    Example: value -0.35 (a token is on average 0.7 times as likely as certain)
    """

    uses_model: ClassVar[bool] = True

    model: ModelRef = field(default_factory=ModelRef)
    normalise: bool = True
    """Mean over tokens; false: the sum, which favours short responses."""
    token_budget: int = field(default=4096, metadata={"identity": False})
    """Tokens of a batch, padding included; changes speed and memory only."""

    def __post_init__(self) -> None:
        if self.token_budget < 1:
            raise ConfigError(f"rewards.likelihood.token_budget must be at least 1, got {self.token_budget}")

    def resolve(self) -> None:
        resolve(self.model)

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        # Loading these takes seconds and is of use to a worker only.
        import torch
        from transformers import AutoModelForCausalLM

        from fusion.chat import Renderer
        from fusion.memory import give_back
        from fusion.modelfiles import prepare

        folder = prepare(self.model, Path(cache))
        renderer = Renderer.load(folder, self.model.chat, self.model.trust_remote_code)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, trust_remote_code=self.model.trust_remote_code
        ).to("cuda" if placement.gpus else "cpu")
        give_back()
        yield _LikelihoodScorer(model, renderer, self)


class _LikelihoodScorer:
    def __init__(self, model: PreTrainedModel, renderer: Renderer, config: Likelihood) -> None:
        self._model = model
        self._renderer = renderer
        self._config = config
        self._max_length = int(model.config.get_text_config().max_position_embeddings)

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        rendered = [self._rendered(candidate) for candidate in candidates]
        distinct = [pair for pair in dict.fromkeys(rendered) if self._fits(pair)]
        values = dict(zip(distinct, self._values(distinct), strict=True))
        return [self._scored(pair, values.get(pair)) for pair in rendered]

    def _rendered(self, candidate: Candidate) -> tuple[tuple[int, ...], tuple[int, ...]]:
        prompt = self._renderer.prompt_ids(candidate.messages, candidate.domain)
        return tuple(prompt), tuple(self._renderer.response_ids(candidate.text))

    def _fits(self, pair: tuple[tuple[int, ...], tuple[int, ...]]) -> bool:
        return len(pair[0]) + len(pair[1]) <= self._max_length

    def _values(self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> list[float]:
        from fusion.rewards.logprobs import response_logprobs

        prompts, responses = [p for p, _ in pairs], [r for _, r in pairs]
        sums = response_logprobs(self._model, prompts, responses, self._config.token_budget)
        return [total / count if self._config.normalise else total for total, count in sums]

    def _scored(self, pair: tuple[tuple[int, ...], tuple[int, ...]], value: float | None) -> Score:
        if value is None:
            detail = f"{len(pair[0]) + len(pair[1])} tokens, over the {self._max_length} that the model reads"
            return Score(Outcome.ERROR, None, detail)
        return Score(Outcome.NOT_APPLICABLE, value)
