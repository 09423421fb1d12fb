"""The longest sequence that a model reads, against what is asked of it."""

from __future__ import annotations

from fusion.errors import ConfigError
from fusion.models import ModelRef, model_facts, model_folder


def context_of(model: ModelRef) -> int:
    """In tokens, as the config or the model's folder says; 0: neither does, or the model is not at hand yet."""
    if model.shape is not None:
        return model.shape.context
    if model.uri.startswith(("hf://", "pypi://")):
        return 0
    try:
        return model_facts(model_folder(model.uri)).max_model_len
    except ConfigError:  # a model that is read but never served needs none
        return 0


def check_context(key: str, model: ModelRef, generator: object) -> None:
    """Raises:
    ConfigError: the generator of the model under `key` is asked for a longer context than it has.
    """
    asked, context = int(getattr(generator, "max_model_len", 0)), context_of(model)
    if context and asked > context:
        raise ConfigError(
            f"generator.max_model_len is {asked}, but the context of {key} ({model.uri}) has {context} tokens; type "
            f"generator.max_model_len={context}"
        )
