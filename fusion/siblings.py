"""Rows of other artifacts with the same row-local recipe, which may be taken over instead of being made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fusion import location
from fusion.artifact import PartFolder
from fusion.errors import ArtifactError
from fusion.table import Table


class Siblings:
    """An index of the parts of `folders`, made when it is first needed."""

    def __init__(self, folders: Sequence[PartFolder]) -> None:
        self._folders = folders
        self._index: dict[str, tuple[PartFolder, str, str | None]] | None = None

    def find(self, wanted: Mapping[str, str | None]) -> dict[tuple[PartFolder, str], set[str]]:
        """Folder and part -> the wanted units (unit key -> guard) that it holds with the same guard."""
        if self._index is None:
            self._index = self._read_index()
        by_part: dict[tuple[PartFolder, str], set[str]] = {}
        for unit, wanted_guard in wanted.items():
            folder, name, guard = self._index.get(unit, (None, "", None))
            if folder is not None and wanted_guard in (None, guard):
                by_part.setdefault((folder, name), set()).add(unit)
        return by_part

    def _read_index(self) -> dict[str, tuple[PartFolder, str, str | None]]:
        index = {}
        for folder in self._folders:
            table = folder.table
            for file in location.names(location.join(folder.path, "parts")):
                name = f"parts/{file}"
                try:
                    rows = folder.read(name, [*table.unit, *([table.guard] if table.guard else [])])
                except (ArtifactError, pa.ArrowException, OSError):
                    continue  # a damaged part of another artifact is that artifact's business
                for unit, guard in zip(keys_of(rows, table.unit), guards_of(rows, table), strict=True):
                    index[unit] = (folder, name, guard)
        return index


def keys_of(rows: pa.Table, columns: tuple[str, ...]) -> list[str]:
    """`key_string` of every row, in bulk."""
    parts = [pc.cast(rows.column(name), pa.string()) for name in columns]
    joined = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "/")
    return list(joined.to_pylist())


def guards_of(rows: pa.Table, table: Table) -> list[str | None]:
    """The guard of every row; None where the table has none."""
    return [None] * rows.num_rows if table.guard is None else list(rows.column(table.guard).to_pylist())
