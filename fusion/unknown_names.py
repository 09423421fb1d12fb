"""What went wrong while Hydra composed a config, in a user's words: the cause, and the closest names there are."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing
from importlib import resources
from pathlib import Path

from fusion import registry


def explained(error: Exception, root: type) -> str:
    """Hydra's message, its cause, and the closest known names.

    Args:
        root: the dataclass of the whole config, whose sections' fields are known names.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if error.__cause__ is not None:
        lines += [line.strip() for line in str(error.__cause__).splitlines() if line.strip()]
    text = "\n  ".join(dict.fromkeys(lines))
    wanted, known = _unknown_name(text, root)
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5) if wanted else []
    return f"{text}\n  Did you mean {' or '.join(close)}?" if close else text


def _unknown_name(text: str, root: type) -> tuple[str, list[str]]:
    """The name that was not found and the names there are, from Hydra's wording."""
    if option := re.search(r"Could not find '(\w+)/([\w/]+)'", text):
        return option[2], re.findall(r"^\s*(\w+)$", text, re.MULTILINE)
    if option := re.search(r"In '.*?': Could not find '([\w/]+)'", text):
        return option[1].rsplit("/", 1)[-1], re.findall(r"^\s*(\w+)$", text, re.MULTILINE)
    if option := re.search(r"Could not load '(\w+)/([\w/]+)'", text):
        folder = resources.files("conf") / option[1]
        return option[2], [Path(str(file)).stem for file in folder.iterdir()] if folder.is_dir() else []
    if key := re.search(r"Key '(\w+)' (?:is )?not in '(\w+)'", text):
        return key[1], _fields_of(key[2], root)
    return "", []


def _fields_of(class_name: str, root: type) -> list[str]:
    for known in _sections(root):
        if known.__name__ == class_name:
            return [item.name for item in dataclasses.fields(known)]
    return []


def _sections(root: type) -> list[type]:
    """Every dataclass that a config may hold: those of the fields, theirs, and the plug-ins'."""
    found = dict.fromkeys(
        [root, *(plugin for group in registry.FOLDERS for plugin in registry.plugins(group).values())]
    )
    waiting = list(found)
    while waiting:
        for hint in typing.get_type_hints(waiting.pop()).values():
            for part in (hint, *typing.get_args(hint)):
                if isinstance(part, type) and dataclasses.is_dataclass(part) and part not in found:
                    found[part] = None
                    waiting.append(part)
    return list(found)
