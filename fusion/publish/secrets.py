"""Text without credentials: what leaves this machine is masked, wherever it stands."""

from __future__ import annotations

import pyarrow as pa

from fusion.hygiene.credentials import credentials
from fusion.report.redact import MASK, mask_values


def without_secrets(table: pa.Table) -> tuple[pa.Table, int]:
    """The table with every credential in its text replaced by `********`, and how many rows that changed."""
    changed: set[int] = set()
    for number, field in enumerate(table.schema):
        if not _holds_text(field.type):
            continue
        before = table.column(number).to_pylist()
        after = [masked(value) for value in before]
        different = {row for row, (old, new) in enumerate(zip(before, after, strict=True)) if old != new}
        if different:
            table = table.set_column(number, field, pa.array(after, field.type))
            changed |= different
    return table, len(changed)


def masked(value: object) -> object:
    """A value of a table with every credential in its texts masked.

    Example: masked("my key is hf_" + 34 * "x1") == "my key is ********"
    """
    if isinstance(value, str):
        text = value
        for found in reversed(credentials(value)):
            text = text[: found.start] + MASK + text[found.end :]
        return mask_values(text)
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    return value


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _holds_text(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_holds_text(kind.field(number).type) for number in range(kind.num_fields))
    return bool(pa.types.is_string(kind))
