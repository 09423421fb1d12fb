"""Who answers prompts."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion.errors import ConfigError
from fusion.generators.base import Generator, Sampling
from fusion.models import ModelRef, resolve_as
from fusion.prompts.base import Prompts
from fusion.stored import StoredResponses


@dataclass(kw_only=True)
class SourceConfig:
    """Who answers prompts: a model, or a file of answers that it gave before."""

    model: ModelRef | None = None
    sampling: Sampling = field(default_factory=Sampling)
    generator: Generator | None = None
    """Engine of this source; null: the run's `generator`."""
    stored: StoredResponses | None = None
    """Answers that exist, in place of `model`: those whose `source` is this source's name."""
    existing: Prompts | None = None
    """Answers that a data set of prompts brings (`columns.response`), in place of `model`."""
    licence: str = field(default="", metadata={"identity": False})
    """Terms of the model that gave stored or existing answers; a configured model's stand in `model.licence`."""

    def check(self, name: str, *, is_chat: bool = True) -> None:
        """Complete what identity needs.

        Args:
            is_chat: whether it needs a chat template.

        Raises:
            ConfigError: it is nobody, or several at once.
        """
        if sum(one is not None for one in (self.model, self.stored, self.existing)) != 1:
            raise ConfigError(
                f"sources.{name} needs a model (model.uri=...), or else answers (stored.path=..., existing)"
            )
        for answers in (self.stored, self.existing):
            if answers is not None:
                answers.resolve()
        if self.model is not None:
            resolve_as(self.model, f"sources.{name}.model", is_chat=is_chat)
