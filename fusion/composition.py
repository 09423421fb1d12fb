"""Hydra composes a config from `conf/` and what was typed; what it refuses is said in a user's words."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fusion.errors import ConfigError
from fusion.unknown_names import explained, refuse_unknown, refused_key

REFUSALS = (HydraException, OmegaConfBaseException, ValueError)
NEW = "++"
"""Hydra's mark of a key that may be new."""


@dataclass(frozen=True, slots=True)
class Composition:
    """A config, and the overrides that Hydra makes it of."""

    tree: DictConfig
    words: list[str]


def composition(words: Sequence[str], config_dir: str | None) -> Composition:
    """Compose `conf/` with command-line overrides.

    Raises:
        ConfigError: an unknown key or option (with the closest ones), a value of the wrong type.
    """
    with initialize_config_module("conf", version_base="1.3"):
        return _composition(list(words), config_dir)


def demand_values(tree: DictConfig) -> None:
    """Raises:
    ConfigError: a value is missing.
    """
    missing = sorted(OmegaConf.missing_keys(tree))
    if "name" in missing:
        raise ConfigError("no experiment is chosen; type e.g. experiment=quickstart (conf/experiment/ lists them)")
    if missing:
        raise ConfigError(f"{missing[0]} is not set and has no default; type {missing[0]}=... (missing: {missing})")


def sweep(words: Sequence[str], config_dir: str | None) -> list[str]:
    """Compose every run of a sweep, so that none is refused after others have run; returns the overrides for Hydra.

    Raises:
        ConfigError: as `composition`.
    """
    new: set[str] = set()
    with initialize_config_module("conf", version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        try:
            runs = BasicSweeper.split_arguments(parser.parse_overrides(list(words)), None)[0]
        except REFUSALS as error:
            raise ConfigError(explained(error, config_dir)) from error
        for run in runs:
            new |= {_key(word) for word in _composition(run, config_dir).words if word.startswith(NEW)}
    return [NEW + word if NEW + _key(word) in new else word for word in words]


def _composition(words: list[str], config_dir: str | None) -> Composition:
    search = [f"hydra.searchpath=[file://{Path(config_dir).resolve()}]"] if config_dir else []
    try:
        tree = compose("config", overrides=[*words, *search])
        OmegaConf.to_container(tree, resolve=True)  # what refers to nothing is found here
    except REFUSALS as error:
        if (entry := _new_entry(error, words)) is None:
            raise ConfigError(explained(error, config_dir)) from error
        return _composition([NEW + word if word == entry else word for word in words], config_dir)
    except (AssertionError, AttributeError) as error:  # OmegaConf, where an override goes into what is null
        raise ConfigError(
            f"one of {words} sets a field of a section that is null; choose the section by its group first, "
            f"or give it whole in a yaml ({error})"
        ) from error
    refuse_unknown(tree)
    return Composition(tree, words)


def _new_entry(error: Exception, words: Sequence[str]) -> str | None:
    """The override that adds a number or text to a dictionary, which Hydra keeps closed; None: there is none."""
    key = refused_key(error)
    kinds = typing.get_args(key.ref_type) if key is not None else ()
    if len(kinds) != 2 or kinds[1] not in (int, float, str, bool):
        return None
    return next((word for word in words if f"Could not override '{_key(word)}'" in str(error)), None)


def _key(word: str) -> str:
    return word.partition("=")[0]
