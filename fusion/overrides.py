"""Hydra overrides of a command line become a config, and a sweep several."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.exit_code import guarded

if TYPE_CHECKING:
    from omegaconf import DictConfig


def in_experiment(name: str, arguments: list[str]) -> list[str]:
    """The arguments with an experiment, if they name none."""
    chosen = any(argument.startswith("experiment=") for argument in arguments)
    return arguments if chosen else [f"experiment={name}", *arguments]


def composed_by_hydra(arguments: list[str], body: Callable[[DictConfig], int]) -> int:
    """Compose the config and call `body`: once, or for each experiment of `compare`, or of a sweep.

    Hydra's own flags (-m, --cfg, --help, ...) go through Hydra's own main.
    """
    config_dir = None
    if "--config-dir" in arguments:
        at = arguments.index("--config-dir")
        if at + 1 == len(arguments):
            raise ConfigError("--config-dir needs a folder")
        config_dir = arguments[at + 1]
        if not os.path.isdir(config_dir):
            raise ConfigError(f"--config-dir {config_dir}: there is no such folder")
    if any(argument.startswith("-") and argument != "--config-dir" for argument in arguments):
        return _hydra_main(arguments, body)
    from fusion.config import composed

    words = [a for a in arguments if a not in ("--config-dir", config_dir)]
    tree = composed(words, config_dir)
    if not tree.compare:
        return body(tree)
    each = _each(tree, words)
    for number, one in enumerate(each, 1):
        print(f"{number} of {len(each)}  {tree.compare[number - 1]}")
        code = body(composed(one, config_dir))
        if code:
            return code
    return 0


def _alone(tree: DictConfig, body: Callable[[DictConfig], int]) -> int:
    if tree.compare:
        raise ConfigError(f"{tree.name} is several experiments already (compare); sweep one of them")
    return body(tree)


def _each(tree: DictConfig, words: Sequence[str]) -> list[list[str]]:
    """The overrides of each experiment that is compared."""
    if any(word.startswith(("name=", "compare=")) for word in words):
        raise ConfigError("each experiment that is compared keeps its own name; leave name= and compare= out")
    rest = [word for word in words if not word.startswith("experiment=")]
    return [[f"experiment={one}", *rest] for one in tree.compare]


def _hydra_main(arguments: list[str], body: Callable[[DictConfig], int]) -> int:
    import hydra

    from fusion.config import register

    register()
    codes: list[int] = []

    @hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
    def task(tree: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import open_dict

        swept = _swept(arguments)
        if swept:
            chosen = [one for one in HydraConfig.get().overrides.task if one.partition("=")[0] in swept]
            with open_dict(tree):
                tree.name = ",".join([tree.name, *chosen]).replace("/", "_")
        codes.append(guarded(lambda: _alone(tree, body)))

    # Hydra's parser refuses overrides on both sides of a flag.
    sys.argv = ["fusion", *sorted(arguments, key=_is_override)]
    task()
    return max(codes, default=0)


def _swept(arguments: Sequence[str]) -> set[str]:
    """Keys that are given several values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    typed = OverridesParser.create().parse_overrides([one for one in arguments if _is_override(one)])
    return {override.get_key_element() for override in typed if override.is_sweep_override()}


def _is_override(argument: str) -> bool:
    return not argument.startswith("-") and ("=" in argument or argument.startswith("~"))
