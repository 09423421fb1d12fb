"""The model that a yaml of conf/source or conf/target names."""

from __future__ import annotations

from omegaconf import OmegaConf

from fusion.config import composed
from fusion.errors import ConfigError
from fusion.models import ModelRef


def configured_model(name: str) -> ModelRef:
    """The model of conf/source/<name>.yaml or conf/target/<name>.yaml.

    Raises:
        ConfigError: there is no such yaml, or it names answers that exist in place of a model.
    """
    try:
        (source,) = composed([f"source=[{name}]"]).sources.values()
        node = source.model
    except ConfigError as error:
        try:
            node = composed([f"target={name}"]).target.model
        except ConfigError:
            raise error from None
    model = None if node is None else OmegaConf.to_object(node)
    if not isinstance(model, ModelRef):
        raise ConfigError(f"conf/source/{name}.yaml has no model; name a model folder or a tokenizer.json")
    return model
