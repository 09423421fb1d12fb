"""Which tasks of lm-evaluation-harness can be asked here, and what is near where one cannot.

Read from the library's index of task files, before any data is loaded. Here a model answers in words, or says how
likely it finds continuations that are given, and each answer is scored by itself; so what measures the perplexity of
whole texts, looks at several answers together, runs programs, or begins an answer in words for the model is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fusion.errors import ConfigError

NEAR = 3
"""Names that a refusal proposes."""
IN_WORDS = "generate_until"
COMPARED = frozenset({"multiple_choice", "loglikelihood"})
"""The output types of tasks that give continuations, of which models say how likely they find them."""


def check(name: str, index: Mapping[str, Any]) -> None:
    """Raises:
    ConfigError: there is no such task, or it cannot be asked here; with the nearest that can.
    """
    if name not in index:
        close = difflib.get_close_matches(name, index, n=NEAR)
        raise ConfigError(f"lm-evaluation-harness has no task {name}" + _proposal(close))
    for task, settings in _settings(name, index):
        if reason := _refusal(settings.get):
            inside = f"{name}: " if task != name else ""
            raise ConfigError(f"{inside}task {task} cannot be asked here: {reason}" + _proposal(_near(name, index)))


def check_built(name: str, task: Any, base: type) -> None:
    """As `check`, of what only the built task shows.

    Args:
        base: the library's class of tasks that a yaml describes.
    """
    own = [m for m in ("construct_requests", "fewshot_context") if getattr(type(task), m) is not getattr(base, m, None)]
    reason = f"it makes its requests in Python ({own[0]})" if own else _refusal(task.get_config)
    if reason:
        raise ConfigError(f"task {name} cannot be asked here: {reason}")


def _refusal(setting: Callable[[str], Any]) -> str:
    """Why not; empty: it can."""
    kind = setting("output_type") or IN_WORDS
    reasons = {
        f"its output_type is {kind}, which measures the perplexity of whole texts; a task of output_type {IN_WORDS}, "
        f"{' or '.join(sorted(COMPARED))} is needed": kind not in {IN_WORDS, *COMPARED},
        "it scores several answers to a question together (repeats); each answer is scored by itself": (
            int(setting("repeats") or 1) > 1
        ),
        "it runs programs that models wrote without a sandbox (unsafe_code); benchmark=[humaneval,mbpp] have one": bool(
            setting("unsafe_code")
        ),
        "it begins the answer for the model (gen_prefix), which a chat template ends": bool(
            setting("gen_prefix") and kind == IN_WORDS
        ),
        "it asks about images or sound": bool(setting("doc_to_image") or setting("doc_to_audio")),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _settings(name: str, index: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A task's name and settings, or those of all tasks of a group or tag."""
    entry = index.get(name)
    if entry is None:
        return
    settings = entry.cfg or {"group": name, "task": sorted(entry.tags)}  # a tag has no settings
    if "group" in settings:
        yield from _members(settings, index)
    else:
        yield name, settings


def _members(group: Mapping[str, Any], index: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Members are names, names with other settings, or groups that are written out."""
    listed = group.get("task")
    for member in listed if isinstance(listed, list) else []:
        if isinstance(member, str):
            yield from _settings(member, index)
        elif "group" in member and member["group"] not in index:
            yield from _members(member, index)
        else:
            inner = str(member.get("group") or member.get("task"))
            yield from ((task, {**settings, **member}) for task, settings in _settings(inner, index))


def _near(name: str, index: Mapping[str, Any]) -> list[str]:
    """Names of the same family that can be asked: what begins alike most, then the shorter."""
    family = name.split("_")[0]
    names = [other for other in index if other.split("_")[0] == family and other != name]
    names.sort(key=lambda other: (-_common(name, other), len(other), other))
    return [other for other in names if _can_be_asked(other, index)][:NEAR]


def _can_be_asked(name: str, index: Mapping[str, Any]) -> bool:
    found = [_refusal(settings.get) for _, settings in _settings(name, index)]
    return bool(found) and not any(found)


def _common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _proposal(names: list[str]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else ""
