"""The verb of recipes that merge checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fusion.errors import ConfigError
from fusion.merging.base import MergeMethod
from fusion.models import ChatConfig, ModelRef
from fusion.recipe import Recipe
from fusion.source_config import SourceConfig
from fusion.stages import merge
from fusion.step import CHECKPOINT, Step


@dataclass
class MergeRecipe(Recipe):
    """A `Recipe` that can merge."""

    def merge(self, label: str, models: Mapping[str, Step | None]) -> Step:
        """One checkpoint from several, around the target's weights, by the configured method.

        Args:
            models: name -> a checkpoint of an earlier step; None: the configured source of that name.

        Raises:
            ConfigError: no method is configured, a source has no model, or their number does not fit the method.
        """
        method = self._method()
        method.check(len(models))
        sources = {name: None if step else _model_of(name, self.config.sources[name]) for name, step in models.items()}
        config = merge.MergeConfig(
            method=method,
            base=_weights_of(self.target.model),
            models=sources,
            order=list(models),
            output=self.config.merge_output,
        )
        donors = ("", "base", *models)
        if self.config.merge_output.tokenizer_from not in donors:
            raise ConfigError(
                f"merge_output.tokenizer_from is {self.config.merge_output.tokenizer_from!r}; it is base or one of "
                f"{', '.join(models)}"
            )
        inputs = {f"model:{name}": step for name, step in models.items() if step is not None}
        placement = self._placement("merge", label)
        return self._step("checkpoint", label, merge.run, config, CHECKPOINT, inputs, placement=placement)

    def _method(self) -> MergeMethod:
        if self.config.merge is None:
            raise ConfigError("this recipe needs merge, which is not set; type e.g. merge=sce merge.tau=1.0")
        return self.config.merge


def _model_of(name: str, source: SourceConfig) -> ModelRef:
    if source.model is None:
        raise ConfigError(f"sources.{name} has answers but no model, so there is nothing to merge; set its model.uri")
    return _weights_of(source.model)


def _weights_of(model: ModelRef) -> ModelRef:
    """The model without how its chats are rendered, which is no matter of its weights."""
    return replace(model, chat=ChatConfig())
