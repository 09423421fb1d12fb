"""The keys of a part's rows: what the driver must know of it, sent with the receipt so that it need not read it back.

A part of 320 answers is 300 KB in the store; its keys are 5 KB, and a driver hears of ten parts a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fusion.key_table import digests_of
from fusion.row_ledger import guards_from
from fusion.table import Table


@dataclass(frozen=True, slots=True)
class PartKeys:
    """Digests (16 bytes a row) of one part."""

    rows: bytes
    """Of primary keys."""
    units: bytes | None = None
    """Of accounting units; None: the same."""
    guards: bytes | None = None
    """8 bytes a row; None: the table has none."""
    causes: tuple[tuple[str, str], ...] = ()
    """(kind, reason) of each row of drops, whose key names a unit."""


def part_keys(rows: pa.Table, table: Table) -> PartKeys:
    """Of a part with rows of `table`; needs its key, unit and guard columns only."""
    units = None if table.unit == table.key else digests_of(keys_of(rows, table.unit)).tobytes()
    guards = None if table.guard is None else guards_from(guards_of(rows, table)).tobytes()
    return PartKeys(digests_of(keys_of(rows, table.key)).tobytes(), units, guards)


def drop_keys(drops: pa.Table) -> PartKeys:
    """Of a part with DROP rows."""
    causes = zip(drops["kind"].to_pylist(), drops["reason"].to_pylist(), strict=True)
    return PartKeys(digests_of(drops["key"].to_pylist()).tobytes(), causes=tuple(causes))


def keys_of(rows: pa.Table, columns: tuple[str, ...]) -> list[str]:
    """`key_string` of every row, in bulk."""
    parts = [pc.cast(rows.column(name), pa.string()) for name in columns]
    joined = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, "/")
    return list(joined.to_pylist())


def guards_of(rows: pa.Table, table: Table) -> list[str | None]:
    """The guard of every row; None where the table has none."""
    return [None] * rows.num_rows if table.guard is None else list(rows.column(table.guard).to_pylist())
