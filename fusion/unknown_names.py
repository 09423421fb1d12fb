"""What went wrong while Hydra composed a config, in a user's words: the cause, and the closest names there are."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fusion import registry
from fusion.errors import ConfigError

ADVICE = ("To append to your config use", "reference_type=", "object_type=")
"""Lines of Hydra's messages that help nobody: a key that is no field does nothing, however it is added."""
POOLS = "cluster.pools."


def explained(error: Exception, config_dir: str | None = None) -> str:
    """Hydra's message, its cause, and the closest known names.

    Args:
        config_dir: a further folder of groups beside `conf/`.
    """
    texts = [str(error), str(error.__cause__ or "")]
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    text = "\n  ".join(line for line in dict.fromkeys(lines) if not line.startswith(ADVICE))
    return f"{text}{_in_its_place(error, text, config_dir)}"


def refuse_unknown(tree: DictConfig) -> None:
    """Refuse keys that no section has, which `+` and `++` add all the same.

    Raises:
        ConfigError: naming the dotted key and the closest ones.
    """
    for node, key in _sections(tree, ""):
        known = {item.name for item in dataclasses.fields(OmegaConf.get_type(node))}  # type: ignore[arg-type]
        for name in map(str, node):
            if name not in known:
                raise ConfigError(f"there is no {key}{name}, so setting it does nothing{_closest(name, known)}")


def refused_key(error: Exception) -> OmegaConfBaseException | None:
    """What OmegaConf said of a key that a node does not have, where that is what went wrong."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, OmegaConfBaseException) and cause.key is not None):
        cause = cause.__cause__
    return cause if isinstance(getattr(cause, "parent_node", None), DictConfig) else None


def _in_its_place(error: Exception, text: str, config_dir: str | None) -> str:
    """What may have been meant, and how to add what is new."""
    wanted, known = _unknown_option(text, config_dir)
    if wanted:
        return _closest(wanted, known)
    key = refused_key(error)
    if key is None or key.parent_node._is_none() or key.key in key.parent_node:
        return ""
    return _closest(str(key.key), key.parent_node) + _to_add(key)


def _to_add(key: OmegaConfBaseException) -> str:
    """Hydra adds numbers and text to a dictionary, but no sections; a pool is one."""
    if OmegaConf.get_type(key.parent_node) is not dict:
        return ""
    what, mark = ("a pool", "+pool@{}=own as well") if str(key.full_key).startswith(POOLS) else ("one", "+{}")
    return f"\n  To add {what}, type {mark.format(key.full_key)}"


def _closest(wanted: str, known: Iterable[object]) -> str:
    close = difflib.get_close_matches(wanted, sorted(map(str, known)), n=3, cutoff=0.5)
    return f"\n  Did you mean {' or '.join(close)}?" if close else ""


def _unknown_option(text: str, config_dir: str | None) -> tuple[str, list[str]]:
    """The option of a group that was not found and the options there are, from Hydra's wording."""
    listed = re.findall(r"^\s*(\w+)$", text, re.MULTILINE)
    if option := re.search(r"Could not find '(\w+)/([\w/]+)'", text):
        return option[2], listed
    if option := re.search(r"In '.*?': Could not find '([\w/]+)'", text):
        return option[1].rsplit("/", 1)[-1], listed
    if option := re.search(r"Could not load '(\w+)/([\w/]+)'", text):
        return option[2], list(_options(option[1], config_dir))
    return "", []


def _options(group: str, config_dir: str | None) -> Iterator[str]:
    """What may be chosen of a group: its yaml files and its plug-ins."""
    for folder in (resources.files("conf") / group, *([Path(config_dir) / group] if config_dir else [])):
        if folder.is_dir():
            yield from (Path(str(file)).stem for file in folder.iterdir())
    if group in registry.FOLDERS:
        yield from registry.plugins(group)


def _sections(node: object, key: str) -> Iterator[tuple[DictConfig, str]]:
    """Every part of a config that a dataclass describes, and the dotted key before its fields."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        return
    kind = OmegaConf.get_type(node)
    if dataclasses.is_dataclass(kind):
        yield node, key
    for name in map(str, node):
        yield from _sections(node._get_node(name), f"{key}{name}.")
