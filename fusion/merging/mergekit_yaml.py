"""mergekit's YAML, where the method exists here: the same file gives the same weights, up to rounding.

    merge_method: sce
    base_model: Qwen/Qwen2.5-32B@<commit>
    models: [{model: deepseek-ai/DeepSeek-R1-Distill-Qwen-32B@<commit>}, {model: ./my-finetune}]
    parameters: {select_topk: 1.0}
    dtype: bfloat16

A model is a folder, or `org/name@commit`. What this program does not do is refused by name, with the reason; nothing is
read over silently. `dtype` and `out_dtype` say what is written: merging is always in fp32. Methods that mergekit does
not have (varm) go by their names here, and so do fields that it does not have (variant).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fusion import registry
from fusion.errors import ConfigError
from fusion.merging.base import MergeMethod
from fusion.merging.settings import depth_of, resolved
from fusion.merging.slices import whole_models
from fusion.models import COMMIT, ModelRef

NOT_HERE = {
    "modules": "parts of multi-part models are not merged here; list whole models under `models`",
    "chat_template": "the template comes with the tokenizer; name the model that has the right one as tokenizer_source",
}
"""Fields of mergekit that this program does not have, and why."""
FIELDS = (
    "merge_method", "base_model", "models", "slices", "parameters", "dtype", "out_dtype", "tokenizer_source",
    "tokenizer",
)  # fmt: skip
WITHOUT_EFFECT = ("int8_mask",)
"""Parameters that only save memory there."""


@dataclass(frozen=True)
class MergekitConfig:
    """A file, read and checked."""

    base: str
    """As the file writes it; for a method without a base the first model, whose config and tokenizer are taken."""
    models: tuple[str, ...]
    """Without the base, unless the method has none."""
    plugin: type[MergeMethod]
    preset: Mapping[str, object]
    """Fields that make the plug-in compute what mergekit calls by this name."""
    settings: Mapping[str, object]
    """`parameters` of the file."""
    own: tuple[Mapping[str, object], ...]
    """`parameters` of each model."""
    dtype: str | None
    tokenizer_source: str
    """As the file writes a model; empty: the base."""
    num_layers: int | None = None
    """Of every model, where the file says so (`slices`)."""

    def method(self, tensor: str, num_layers: int) -> MergeMethod:
        """The method as it is for one tensor.

        Raises:
            ConfigError: a value of the wrong type or out of range.
        """
        depth = depth_of(tensor, num_layers)
        given: dict[str, object] = dict(self.preset)
        for field in fields(self.plugin):
            key = str(field.metadata.get("yaml") or field.name)
            if field.metadata.get("per_model"):
                numbers = [self._resolved(key, (own, self.settings), tensor, depth) for own in self.own]
                if any(number is not None for number in numbers):
                    given[field.name] = [_default(self.preset, field.name) if n is None else n for n in numbers]
                continue
            value = self._resolved(key, (self.settings,), tensor, depth)
            if value is not None:
                given[field.name] = field.metadata.get("values", {}).get(value, value)
        return _built(self.plugin, given)

    def _resolved(self, key: str, settings: Iterable[Mapping[str, object]], tensor: str, depth: float) -> object | None:
        for one in settings:
            value = resolved(one[key], tensor, depth, f"parameters.{key}") if key in one else None
            if value is not None:
                return value
        return None


def read(path: Path) -> MergekitConfig:
    """Raises:
    ConfigError: no such file, no YAML, or a method or field that is not known here; lists those that are.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; give a YAML file as mergekit takes it")
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}; it must hold fields such as merge_method and models")
    for key in content:
        if key in NOT_HERE:
            raise ConfigError(f"{path}: {key}: {NOT_HERE[key]}")
        _demand_known(f"{path}: field", str(key), FIELDS)
    entries, num_layers = whole_models(path, content) if "slices" in content else (content.get("models") or (), None)
    plugin, preset = _method(path, content.get("merge_method"))
    listed = [_entry(path, entry) for entry in entries]
    if not listed:
        raise ConfigError(f"{path}: models is empty; list what is to be merged")
    base = content.get("base_model") or ("" if plugin.needs_base else listed[0][0])
    if not base:
        raise ConfigError(f"{path}: {content['merge_method']} needs base_model, the model that the others come from")
    merged = [(name, own) for name, own in listed if not (plugin.needs_base and name == base)]
    settings = dict(content.get("parameters") or {})
    _check_parameters(path, plugin, settings, [own for _, own in merged])
    return MergekitConfig(
        base=str(base),
        models=tuple(name for name, _ in merged),
        plugin=plugin,
        preset=preset,
        settings=settings,
        own=tuple(own for _, own in merged),
        dtype=content.get("out_dtype") or content.get("dtype"),
        tokenizer_source=_tokenizer(path, content, [str(base), *(name for name, _ in merged)]),
        num_layers=num_layers,
    )


def model_ref(text: str, relative_to: Path) -> ModelRef:
    """A model as the file writes it: a folder (from the working folder, or else from the file), or org/name@commit.

    Raises:
        ConfigError: neither, or a model of the hub that is not pinned.
    """
    name, _, revision = text.partition("@")
    for folder in (Path(text).expanduser(), relative_to / text):
        if folder.is_dir():
            return ModelRef(uri=str(folder.absolute()))
    if "+" in name:
        raise ConfigError(f"model {text}: adapters are not applied here; merge the adapter into its model first")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ConfigError(f"model {text}: there is no such folder, and it is no org/name@commit")
    if not COMMIT.fullmatch(revision):
        raise ConfigError(
            f"model {text} is not pinned; write {name}@COMMIT (40 hex digits; "
            f"https://huggingface.co/{name}/commits/main shows them), or a local folder"
        )
    return ModelRef(uri=f"hf://{name}", revision=revision)


def methods() -> dict[str, tuple[type[MergeMethod], Mapping[str, object]]]:
    """Names of `merge_method` -> plug-in and preset fields: mergekit's names, then those that exist only here."""
    found: dict[str, tuple[type[MergeMethod], Mapping[str, object]]] = {}
    plugins: dict[str, type[MergeMethod]] = registry.plugins("merge")
    for plugin in plugins.values():
        found |= {name: (plugin, preset) for name, preset in plugin.mergekit.items()}
    return found | {name: (plugin, {}) for name, plugin in plugins.items() if name not in found}


def _method(path: Path, name: object) -> tuple[type[MergeMethod], Mapping[str, object]]:
    known = methods()
    _demand_known(f"{path}: merge_method", str(name), known)
    return known[str(name)]


def _entry(path: Path, entry: object) -> tuple[str, dict[str, object]]:
    if isinstance(entry, str):
        return entry, {}
    if not isinstance(entry, dict) or "model" not in entry:
        raise ConfigError(f"{path}: models holds {entry!r}; an entry is {{model: ..., parameters: {{...}}}}")
    for key in entry:
        _demand_known(f"{path}: field of a model", str(key), ("model", "parameters"))
    if not isinstance(entry["model"], str):
        raise ConfigError(f"{path}: models: model is {entry['model']!r}; write org/name@commit or a folder")
    return entry["model"], dict(entry.get("parameters") or {})


def _check_parameters(
    path: Path, plugin: type[MergeMethod], settings: Mapping[str, object], own: Iterable[Mapping[str, object]]
) -> None:
    known = {str(f.metadata.get("yaml") or f.name): bool(f.metadata.get("per_model")) for f in fields(plugin)}
    for key in settings:
        _demand_known(f"{path}: parameter", key, [*known, *WITHOUT_EFFECT])
    for parameters in own:
        for key in parameters:
            _demand_known(f"{path}: parameter of a model", key, [name for name, is_own in known.items() if is_own])


def _tokenizer(path: Path, content: Mapping[str, object], models: list[str]) -> str:
    wanted = content.get("tokenizer_source")
    if isinstance(block := content.get("tokenizer"), dict):
        for key in block:
            _demand_known(f"{path}: field of tokenizer", str(key), ("source",))
        wanted = block.get("source")
    if wanted in (None, "base"):
        return ""
    if wanted not in models:
        raise ConfigError(
            f"{path}: tokenizer_source is {wanted!r}; it is base, or one of the models ({', '.join(models)}). "
            "Tokenizers are not united here: models whose tokens differ are fused by training"
        )
    return str(wanted)


def _demand_known(what: str, name: str, known: Iterable[str]) -> None:
    names = list(known)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ConfigError(f"{what} {name!r} is not known here.{hint} Known are {', '.join(names) or 'none'}")


def _default(preset: Mapping[str, object], field: str) -> object:
    given = preset.get(field)
    return given[0] if isinstance(given, list) else 1.0


_made: dict[str, MergeMethod] = {}


def _built(plugin: type[MergeMethod], given: Mapping[str, object]) -> MergeMethod:
    """The plug-in with checked values; one object for equal values, since most tensors have the same."""
    key = json.dumps([plugin.__name__, given], default=str, sort_keys=True)
    if key not in _made:
        try:
            made = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(plugin), dict(given)))
        except OmegaConfBaseException as error:
            raise ConfigError(f"parameters of {plugin.__name__}: {str(error).splitlines()[0]}") from error
        assert isinstance(made, MergeMethod)
        _made[key] = made
    return _made[key]
