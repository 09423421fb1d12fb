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

    Hydra's own flags (-m, --cfg, --help, ...) go through Hydra's own main, once all there is to refuse is refused.
    """
    from hydra._internal.utils import get_args_parser

    told = get_args_parser().parse_intermixed_args(arguments)
    if told.config_dir is not None and not os.path.isdir(told.config_dir):
        raise ConfigError(f"--config-dir {told.config_dir}: there is no such folder")
    flags = {flag for flag, value in vars(told).items() if value and flag not in ("overrides", "config_dir")}
    if flags:
        words = told.overrides
        if not flags & {"config_name", "config_path"}:
            words = _refused_early(words, told.config_dir, told.multirun)
        return _hydra_main(words, [one for one in arguments if one not in told.overrides], body)
    from fusion.config import composed

    tree = composed(told.overrides, told.config_dir)
    if not tree.compare:
        return body(tree)
    each = [composed(one, told.config_dir) for one in _each(tree, told.overrides)]
    for number, one in enumerate(each, 1):
        print(f"{number} of {len(each)}  {tree.compare[number - 1]}")
        code = body(one)
        if code:
            return code
    return 0


def _refused_early(words: list[str], config_dir: str | None, is_sweep: bool) -> list[str]:
    """Compose all that Hydra is going to compose, which would end with a text of Hydra's; returns the words for it."""
    from fusion.composition import composition, sweep
    from fusion.config import register

    register()
    return sweep(words, config_dir) if is_sweep else composition(words, config_dir).words


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


def _hydra_main(words: list[str], flags: list[str], body: Callable[[DictConfig], int]) -> int:
    import hydra

    from fusion.config import register

    register()
    codes: list[int] = []

    @hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
    def task(tree: DictConfig) -> None:
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import open_dict

        swept = _swept(words)
        if swept:
            chosen = [one for one in HydraConfig.get().overrides.task if one.partition("=")[0] in swept]
            with open_dict(tree):
                tree.name = ",".join([tree.name, *(one.lstrip("+") for one in chosen)]).replace("/", "_")
        codes.append(guarded(lambda: _alone(tree, body)))

    sys.argv = ["fusion", *words, *flags]
    task()
    return max(codes, default=0)


def _swept(words: Sequence[str]) -> set[str]:
    """Keys that are given several values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    typed = OverridesParser.create().parse_overrides(list(words))
    return {override.get_key_element() for override in typed if override.is_sweep_override()}
