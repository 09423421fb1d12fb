"""Identity: the canonical form of a recipe, its hash, and the readable difference of two recipes.

What a step computes is hashed; where it runs is another type (`Placement`) and never reaches this file. A value that
has no canonical form (a callable, a set of mixed types, NaN) is refused by name: no `default=str`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum

from fusion.errors import ConfigError


def canonical(value: object, path: str = "config") -> object:
    """JSON-ready form of a config value. Dataclasses carry their class name, so equal fields of two plug-ins differ.

    A field declared with `metadata={"absent_when": v}` is left out while it equals `v`: a field added later does not
    move old artifacts. A field with `metadata={"identity": False}` is never part of it (labels and paths).

    Raises:
        ConfigError: naming the dotted path of a value that has no canonical form.
    """
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{path} is {value}: a recipe holds finite numbers only")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"()": type(value).__name__} | _fields(value, path)
    if isinstance(value, Mapping):
        return {str(k): canonical(value[k], f"{path}.{k}") for k in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [canonical(item, f"{path}[{i}]") for i, item in enumerate(value)]
    raise ConfigError(
        f"{path} is a {type(value).__name__}, which has no canonical form; use plain values or dataclasses"
    )


def fingerprint(recipe: object) -> str:
    """12 hex digits of sha256 over the canonical JSON of `recipe`."""
    text = json.dumps(canonical(recipe, "recipe"), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(old: object, new: object, path: str = "") -> list[str]:
    """What changed between two canonical values, one line a leaf: `config.beta 0.1 -> 0.2`."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines: list[str] = []
        for key in sorted(old.keys() | new.keys()):
            where = f"{path}.{key}" if path else str(key)
            if key not in old:
                lines.append(f"{where} added ({_short(new[key])})")
            elif key not in new:
                lines.append(f"{where} removed (was {_short(old[key])})")
            else:
                lines += differences(old[key], new[key], where)
        return lines
    if old == new:
        return []
    return [f"{path} {_short(old)} -> {_short(new)}"]


def _fields(value: object, path: str) -> dict[str, object]:
    kept = {}
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if not field.metadata.get("identity", True):
            continue
        if "absent_when" in field.metadata and item == field.metadata["absent_when"]:
            continue
        kept[field.name] = canonical(item, f"{path}.{field.name}")
    return kept


def _short(value: object, limit: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 1] + "…"
