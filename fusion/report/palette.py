"""One colour for one thing, everywhere in the report: sources by name, roles by meaning."""

from __future__ import annotations

from collections.abc import Sequence

NUM_COLOURS = 12
ROLES = {"base": "--base", "sft": "--sft", "final": "--final"}


class Palette:
    """CSS variables of report.css. More sources than colours share the last one's grey."""

    def __init__(self, sources: Sequence[str]) -> None:
        self._sources = {source: i for i, source in enumerate(sorted(sources))}

    def __getitem__(self, name: str) -> str:
        if name in ROLES:
            return ROLES[name]
        number = self._sources.get(name, NUM_COLOURS)
        return f"--source-{number}" if number < NUM_COLOURS else "--base"
