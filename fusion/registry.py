"""The folder is the registry: a plug-in file defines one concrete subclass of its folder's base class.

`register` walks the folders and hands each class to Hydra, so that `objective=ln_dpo objective.beta=7` works with no
yaml and no registration line. Importing a plug-in file loads no engine: heavy imports sit inside its `open`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from hydra.core.config_store import ConfigStore

from fusion.errors import PluginError
from fusion.generators.base import Generator
from fusion.merging.base import MergeMethod
from fusion.objectives.base import Objective
from fusion.prompts import copies, harness_task
from fusion.prompts.base import Prompts
from fusion.prompts.taggers.base import Tagger
from fusion.rewards.base import Reward
from fusion.selection.base import Selection

FOLDERS: dict[str, tuple[str, type]] = {
    "generator": ("fusion.generators", Generator),
    "merge": ("fusion.merging", MergeMethod),
    "objective": ("fusion.objectives", Objective),
    "prompts": ("fusion.prompts", Prompts),
    "reward": ("fusion.rewards", Reward),
    "selection": ("fusion.selection", Selection),
    "tagger": ("fusion.prompts.taggers", Tagger),
}
"""Hydra group -> plug-in folder and base class."""

MULTI_SELECT = {"reward": "rewards"}
"""Groups of which several are chosen at once, each under its own name."""


@cache
def plugins(group: str) -> dict[str, type]:
    """File stem -> plug-in class of one group.

    Raises:
        PluginError: a file defines several plug-ins.
    """
    package, base = FOLDERS[group]
    found: dict[str, type] = {}
    for module_info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if module_info.name == "base":
            continue
        module = importlib.import_module(f"{package}.{module_info.name}")
        classes = [
            item
            for item in vars(module).values()
            if inspect.isclass(item)
            and issubclass(item, base)
            and not inspect.isabstract(item)
            and item.__module__ == module.__name__
        ]
        if len(classes) > 1:
            names = ", ".join(sorted(item.__name__ for item in classes))
            raise PluginError(f"{module.__file__} defines {names}; a plug-in file defines one")
        if classes:
            found[module_info.name] = classes[0]
    return found


def register() -> None:
    """Hand every plug-in class to Hydra's config store."""
    copies.register()
    harness_task.register()
    store = ConfigStore.instance()
    for group in FOLDERS:
        for name, plugin in plugins(group).items():
            package = f"{MULTI_SELECT[group]}.{name}" if group in MULTI_SELECT else None
            store.store(group=group, name=name, node=plugin, package=package)


def name_of(group: str, plugin: object) -> str:
    """File stem of a plug-in object: `correct_vs_wrong`."""
    for name, known in plugins(group).items():
        if type(plugin) is known:
            return name
    raise PluginError(f"{type(plugin).__name__} is not a plug-in of group {group}")
