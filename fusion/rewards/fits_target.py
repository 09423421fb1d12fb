"""Fails answers that are too long once they are written in the target's own template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fusion.errors import ConfigError
from fusion.models import ModelRef, resolve
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.schema import Outcome
from fusion.step import Placement

if TYPE_CHECKING:
    from fusion.chat import Renderer


@dataclass(kw_only=True)
class FitsTarget(Reward):
    """Pass or fail; value: tokens of prompt and answer under the target's tokenizer and template."""

    is_verifier: ClassVar[bool] = True

    model: ModelRef | None = None
    """null: the run's target."""
    max_length: int = 2048
    """Tokens; FuseChat-3.0 trains at 2,048 (section 4.1)."""

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ConfigError(f"rewards.fits_target.max_length must be at least 1, got {self.max_length}")

    def resolve(self) -> None:
        """Raises:
        ConfigError: there is no target either.
        """
        resolve(self._model)

    @property
    def _model(self) -> ModelRef:
        if self.model is None:
            raise ConfigError("rewards.fits_target has no model and the run no target; type target=... (conf/target/)")
        return self.model

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        from fusion.chat import Renderer
        from fusion.modelfiles import prepare

        model = self._model
        folder = prepare(model, Path(cache))
        yield _LengthScorer(Renderer.load(folder, model.chat, model.trust_remote_code), self.max_length)


class _LengthScorer:
    def __init__(self, renderer: Renderer, max_length: int) -> None:
        self._renderer = renderer
        self._max_length = max_length

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        prompt = self._renderer.prompt_ids(candidate.messages, candidate.domain)
        length = len(prompt) + len(self._renderer.response_ids(candidate.text))
        if length <= self._max_length:
            return Score(Outcome.PASS, float(length))
        return Score(Outcome.FAIL, float(length), f"{length} tokens, over the {self._max_length} of training")
