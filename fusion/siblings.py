"""Rows of other artifacts with the same row-local recipe, which may be taken over instead of being made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fusion import location
from fusion.artifact import PartFolder
from fusion.errors import ArtifactError
from fusion.key_table import KeyTable, digests_from, digests_of, grown
from fusion.part_keys import part_keys
from fusion.row_ledger import Guards, guards_from


class Siblings:
    """An index of the parts of `folders`, made when it is first needed."""

    def __init__(self, folders: Sequence[PartFolder]) -> None:
        self._folders = folders
        self._index: _Index | None = None

    def find(self, wanted: Mapping[str, str | None]) -> dict[tuple[PartFolder, str], set[str]]:
        """Folder and part -> the wanted units (unit key -> guard) that it holds with the same guard."""
        if not self._folders:
            return {}
        if self._index is None:
            self._index = self._read_index()
        by_part: dict[tuple[PartFolder, str], set[str]] = {}
        for unit, part in zip(wanted, self._index.parts_with(wanted), strict=True):
            if part is not None:
                by_part.setdefault(part, set()).add(unit)
        return by_part

    def _read_index(self) -> _Index:
        index = _Index()
        for folder in self._folders:
            table = folder.table
            columns = list(dict.fromkeys([*table.key, *table.unit, *([table.guard] if table.guard else [])]))
            for file in location.names(location.join(folder.path, "parts")):
                name = f"parts/{file}"
                try:
                    index.add(folder, name, folder.read(name, columns))
                except (ArtifactError, pa.ArrowException, OSError):
                    continue  # a damaged part of another artifact is that artifact's business
        return index


class _Index:
    """Unit -> the last part that holds it, and its guard there."""

    def __init__(self) -> None:
        self._table = KeyTable()
        self._parts: list[tuple[PartFolder, str]] = []
        self._part_of: NDArray[np.int32] = np.zeros(0, dtype=np.int32)
        self._guards: Guards = np.zeros(0, dtype=np.uint64)

    def add(self, folder: PartFolder, name: str, rows: pa.Table) -> None:
        keys = part_keys(rows, folder.table)
        at = self._table.add(digests_from(keys.rows if keys.units is None else keys.units))
        if len(self._table) > len(self._part_of):
            self._part_of = grown(self._part_of, len(self._table))
            self._guards = grown(self._guards, len(self._table))
        self._part_of[at] = len(self._parts)
        self._guards[at] = 0 if keys.guards is None else np.frombuffer(keys.guards, dtype="<u8")
        self._parts.append((folder, name))

    def parts_with(self, wanted: Mapping[str, str | None]) -> list[tuple[PartFolder, str] | None]:
        """For each unit, in order: a wanted guard of None agrees with any."""
        at = self._table.find(digests_of(wanted))
        guards = guards_from(wanted.values())
        found: list[tuple[PartFolder, str] | None] = []
        for place, guard in zip(at.tolist(), guards, strict=True):
            agrees = place >= 0 and guard in (0, self._guards[place])
            found.append(self._parts[self._part_of[place]] if agrees else None)
        return found
