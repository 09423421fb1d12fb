"""From what a person types to one prompt: its id or the first characters, a row's key, or the id its file gave it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc

from fusion.errors import ConfigError, FusionError
from fusion.ledger.tables import RunTables
from fusion.prompts.columns import Columns, to_prompt
from fusion.prompts.rows import file_rows
from fusion.schema import prompt_id

GIVEN_IDS = ("prompt_id", "id", "uuid", "question_id", "task_id")
"""Columns in which files commonly give a row a name of its own."""


@dataclass(frozen=True, slots=True)
class Found:
    """A prompt of a run: in its prompts, or dropped on the way in."""

    tables: RunTables
    prompt_id: str
    """Empty: only a drop is known."""
    drop: Mapping[str, object] | None = None
    """The DROP row of a prompt that was not let in."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a file: its name, the prompt it asks, and what the file calls it."""

    name: str
    prompt: str
    given: Sequence[str]

    def is_called(self, key: str) -> bool:
        return key == self.name or key in self.given


def find(runs: str, run: str | None, key: str) -> Found:
    """The prompt that `key` names, in one run or else in the newest run that has it (or, if none has, dropped it).

    Args:
        key: a prompt_id or its first characters, a row's key (`<prompt_id>/0`), the name of a row in its file
            (`answers.jsonl:17`), or the id that the file gave it.

    Raises:
        ConfigError: no prompt or several are meant.
    """
    names = [run] if run is not None else newest(runs)
    dropped: Found | None = None
    for name in names:
        try:
            tables = RunTables.open(runs, name)
        except FusionError:
            if run is not None:
                raise
            continue  # of another store, or damaged; asked for by name it says so
        found = in_run(tables, key)
        if found is not None and found.prompt_id:
            return found
        dropped = dropped or found
    if dropped is not None:
        return dropped
    where = f"run {run}" if run is not None else f"the runs in {runs}/ ({', '.join(names) or 'none'})"
    raise ConfigError(f"no prompt of {where} has the key {key!r}; `fusion show {run or 'RUN'} sft` lists keys")


def newest(runs: str) -> list[str]:
    """Names of finished runs, the one that ended last first."""
    results = sorted(Path(runs).glob("*/result.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent.name for path in results]


def in_run(tables: RunTables, key: str) -> Found | None:
    """As `find`, in one run. None: it has no such prompt.

    Raises:
        ConfigError: several prompts begin with the key.
    """
    if not key.strip():
        return None
    ids = tables.domains()
    matching = [key] if key in ids else sorted(one for one in ids if one.startswith(key))
    if len(matching) > 1:
        raise ConfigError(f"{len(matching)} prompts begin with {key!r}: {', '.join(matching[:5])}; type more")
    if matching:
        return Found(tables, matching[0])
    if (called := next((row.prompt for row in _rows(tables) if row.is_called(key)), None)) is not None:
        if called in ids:
            return Found(tables, called)
        # A prompt that several rows ask is dropped under the name of the first.
        drops = (_dropped(tables, row.name) for row in _rows(tables) if row.prompt == called)
        return next((drop for drop in drops if drop is not None), None)
    return _dropped(tables, key) or _of_a_row(tables, ids, key)


def _of_a_row(tables: RunTables, ids: Collection[str], key: str) -> Found | None:
    """The prompt of a row's key (`<prompt_id>/0`, `<prompt_id>/<source>/2`), written whole or begun."""
    for parts in (1, 2):
        start = key.rsplit("/", parts)[0]
        matching = [start] if start in ids else [one for one in ids if one.startswith(start)]
        if start != key and len(matching) == 1:
            return Found(tables, matching[0])
    return None


def _dropped(tables: RunTables, name: str) -> Found | None:
    for step in tables.tables:
        if step.startswith("prompts/"):
            drops = tables.tables[step].drops()
            rows = drops.filter(pc.equal(drops["key"], name)).to_pylist()
            if rows:
                return Found(tables, "", rows[0])
    return None


def _rows(tables: RunTables) -> Iterator[_Row]:
    """Rows of the run's prompt and answer files, as far as these are still at hand."""
    from omegaconf import OmegaConf

    tree = OmegaConf.to_container(OmegaConf.create(tables.run.config_text))
    assert isinstance(tree, dict)
    for section in (tree.get("replay"), tree.get("prompts")):
        path = Path(str(section.get("path") or "")) if isinstance(section, dict) else Path()
        if not isinstance(section, dict) or not path.is_file():
            continue
        known = set(Columns.__dataclass_fields__)
        names = {name: value for name, value in (section.get("columns") or {}).items() if name in known}
        columns = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Columns), names))
        assert isinstance(columns, Columns)
        naming = (section.get("columns") or {}).get("prompt_id", "")  # a file of answers may name its prompts
        for name, row in file_rows(path):
            prompt, cells = to_prompt(row, name, columns, ""), row if isinstance(row, Mapping) else {}
            given = [_text(cells.get(one)) for one in GIVEN_IDS]
            named = _text(cells.get(naming)) or prompt_id(prompt.messages, prompt.reference)
            yield _Row(name, named, [one for one in given if one])


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None if value is None else json.dumps(value)
