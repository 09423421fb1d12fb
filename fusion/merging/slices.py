"""mergekit's `slices`, where there is one and it holds whole models: the usual way to write a SLERP.

slices: [{sources: [{model: a, layer_range: [0, 32]}, {model: b, layer_range: [0, 32]}]}]
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fusion.errors import ConfigError

STACKED = "layers of different models are not stacked here; list whole models under `models`"


def whole_models(path: Path, content: Mapping[str, object]) -> tuple[list[object], int]:
    """The slice's sources as entries of `models`, and the number of layers that each must have.

    Raises:
        ConfigError: there are several slices, or models of which only some layers are taken.
    """
    slices = content["slices"]
    if content.get("models"):
        raise ConfigError(f"{path}: slices and models are both given; list the models once, under `models`")
    if not isinstance(slices, list) or len(slices) != 1:
        raise ConfigError(f"{path}: slices: {STACKED}")
    (whole,) = slices
    if not isinstance(whole, dict) or set(whole) != {"sources"} or not isinstance(whole["sources"], list):
        raise ConfigError(f"{path}: slices holds {whole!r}; here a slice is {{sources: [...]}}")
    entries: list[object] = []
    stops = set()
    for source in whole["sources"]:
        layers = source.get("layer_range") if isinstance(source, dict) else None
        if not isinstance(layers, list) or len(layers) != 2 or layers[0] != 0:
            raise ConfigError(f"{path}: slices: {source!r} is not of whole layers, [0, number of layers]; {STACKED}")
        stops.add(layers[1])
        entries.append({key: value for key, value in source.items() if key != "layer_range"})
    if len(stops) != 1:
        raise ConfigError(f"{path}: slices: layer_range ends at {sorted(stops)}; {STACKED}")
    return entries, int(stops.pop())


def check_layers(wanted: int | None, there: Mapping[str, int]) -> None:
    """Whether every model ends where its layer_range does.

    Args:
        wanted: the end of `layer_range`; None: the file has no slices.
        there: number of layers by model.

    Raises:
        ConfigError: a model has more layers, or fewer.
    """
    for name, count in there.items():
        if wanted not in (None, count):
            raise ConfigError(f"slices: layer_range ends at {wanted}, and {name} has {count} layers; {STACKED}")
