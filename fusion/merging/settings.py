"""Parameters of mergekit's YAML: a number, or one that depends on the tensor's name and on how deep its layer lies.

t: 0.5                                                  the same everywhere
t: [0, 0.5, 1]                                          a gradient: first layer 0, middle 0.5, last 1
t: [{filter: self_attn, value: [0, 1]}, {value: 0.5}]   the first entry whose filter is in the tensor's name
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fusion.errors import ConfigError

LAYER = re.compile(r"\.(\d+)\.")


def depth_of(tensor: str, num_layers: int) -> float:
    """Where a tensor's layer lies, first 0 and last 1; tensors outside of layers count as 0, an only layer as 1."""
    found = LAYER.search(tensor)
    if found is None:
        return 0.0
    return int(found[1]) / (num_layers - 1) if num_layers > 1 else 1.0


def resolved(setting: object, tensor: str, depth: float, key: str) -> object | None:
    """The setting's value for one tensor; None: no filter matches.

    Raises:
        ConfigError: it is nothing of the above.
    """
    if isinstance(setting, bool | int | float | str):
        return setting
    if isinstance(setting, dict):
        setting = [setting]
    if isinstance(setting, list) and setting:
        if all(isinstance(one, bool | int | float | str) for one in setting):
            return _gradient(setting, depth)
        if all(isinstance(one, dict) and one.keys() <= {"filter", "value"} and "value" in one for one in setting):
            for one in setting:
                wanted = one.get("filter")
                if wanted in (None, "*") or str(wanted) in tensor:
                    return resolved(one["value"], tensor, depth, key)
            return None
    raise ConfigError(
        f"{key} is {setting!r}; it is a value, a list of values from the first layer to the last, or a list of "
        "{filter: part of a tensor's name, value: ...}"
    )


def _gradient(values: Sequence[object], depth: float) -> object:
    """Numbers are interpolated; of anything else the nearest to the left is taken."""
    place = depth * (len(values) - 1)
    left = int(place)
    low, high = values[left], values[min(left + 1, len(values) - 1)]
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in values):
        return low
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return low + (place - left) * (high - low)
