"""A named Arrow schema with its primary key: what a table of the house is, apart from which tables there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fusion.errors import SchemaError


@dataclass(frozen=True, slots=True)
class Table:
    """A named Arrow schema, its primary key, and the key columns whose distinct values are accounted for.

    `unit` is what "rows in = rows out + dropped + failed" counts: samples for responses, prompts for pairs. `guard`
    names a column that must agree, beside the key, before a row is taken over from another artifact.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    unit: tuple[str, ...]
    guard: str | None = None

    def contract(self) -> dict[str, object]:
        """The part of an artifact's identity that says what it holds."""
        return {"table": self.name, "key": list(self.key), "columns": [str(field) for field in self.schema]}

    def build(self, rows: Sequence[Mapping[str, object]]) -> pa.Table:
        """Rows as a checked Arrow table.

        Raises:
            SchemaError: a row lacks a column, has an unknown one, or a value of another type.
        """
        for row in rows:
            if row.keys() != set(self.schema.names):
                odd = sorted(row.keys() ^ set(self.schema.names))
                raise SchemaError(f"table {self.name}: a row and the schema differ in columns {odd}")
        try:
            table = pa.Table.from_pylist(list(rows), schema=self.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise SchemaError(f"table {self.name}: {error}") from error
        self.check(table)
        return table

    def check(self, table: pa.Table) -> None:
        """Types, nulls and key uniqueness.

        Raises:
            SchemaError: naming the column or the first doubled key.
        """
        if not table.schema.equals(self.schema):
            raise SchemaError(f"table {self.name}: expected {self.schema}, got {table.schema}")
        for field in self.schema:
            if not field.nullable and table.column(field.name).null_count:
                raise SchemaError(f"table {self.name}: column {field.name} has nulls and may not")
        counts = table.group_by(list(self.key)).aggregate([([], "count_all")])
        doubled = counts.filter(pc.greater(counts["count_all"], 1))
        if doubled.num_rows:
            raise SchemaError(f"table {self.name}: key {doubled.slice(0, 1).to_pylist()[0]} occurs more than once")
