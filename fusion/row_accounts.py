"""The accounts of a table that is about to be sealed: rows in = rows out + dropped + failed, or which row is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from fusion.artifact import Accounts, PartFolder
from fusion.errors import ArtifactError
from fusion.part_keys import keys_of
from fusion.row_ledger import RowLedger


def checked_accounts(rows: RowLedger, folder: PartFolder, parts: Iterable[str], drops: Iterable[str]) -> Accounts:
    """Raises:
    ArtifactError: a row is missing, unexpected, or both there and dropped; it is named.
    """
    where = folder.path
    if missing := rows.num_missing:
        raise ArtifactError(f"{where}: {missing} rows are missing, e.g. {rows.a_missing()}; not sealed")
    if extra := rows.num_unexpected:
        name = _an_unexpected(rows, folder, parts, drops)
        raise ArtifactError(f"{where}: {extra} unexpected rows, e.g. {name}; not sealed")
    if rows.num_contradictory:
        raise ArtifactError(f"{where}: {rows.a_contradictory()} is both a row and dropped; not sealed")
    reasons = rows.num_dropped()
    accounts = Accounts(rows.num_expected, rows.num_out, dict(reasons["dropped"]), dict(reasons["failed"]))
    accounts.check(where)
    return accounts


def _an_unexpected(rows: RowLedger, folder: PartFolder, parts: Iterable[str], drops: Iterable[str]) -> str:
    """Found in the parts: of a row that nobody expected no name is kept."""
    found: list[str] = []
    for name in parts:
        found += rows.unexpected_among(keys_of(folder.read(name, folder.table.unit), folder.table.unit))
    for name in drops:
        found += rows.unexpected_among(folder.read(name, ["key"])["key"].to_pylist())
    return min(found)
