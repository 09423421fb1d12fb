"""The driver's end of an artifact being made: what is committed, what is still to do, and the seal.

Only the driver holds a writer, under the folder's lease. Workers write parts through `PartFolder` and report
receipts; a part counts when the writer knows it. Readers may `stream()` the parts while they come in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusion import location
from fusion.artifact import Artifact, Part, PartFolder, Receipt, parts_json, read_manifest, write_json
from fusion.errors import ArtifactError
from fusion.key_table import Positions, digests_from, digests_of
from fusion.part_keys import PartKeys, drop_keys, keys_of, part_keys
from fusion.row_accounts import checked_accounts
from fusion.row_ledger import RowLedger, guards_from
from fusion.siblings import Siblings
from fusion.table import Table

RECORD_S = 5.0
"""Least time between two writings of expected.json."""

log = logging.getLogger(__name__)


class ArtifactWriter:
    """Committed rows of one unsealed table artifact.

    Args:
        path: the artifact's folder.
        table: what it holds.
        siblings: folders of artifacts with the same row-local recipe, whose rows may be taken over.
        check_lease: raises when another run took the folder.
    """

    def __init__(
        self, path: str, table: Table, siblings: list[str] | None = None, check_lease: Callable[[], None] = lambda: None
    ) -> None:
        self.folder = PartFolder(path, table)
        self.table = table
        self.rows_reused = 0
        self.totals: Counter[str] = Counter()
        self.measures: dict[str, float] = {}  # what a stage has found out about its rows, for the manifest
        self._check_lease = check_lease
        self._siblings = Siblings([PartFolder(sibling, table) for sibling in siblings or []])
        self._changed = threading.Condition()
        self._parts: dict[str, Part] = {}
        self._drops: dict[str, Part] = {}
        self._committed: list[Part] = []  # parts in the order they came, for those who follow
        self._rows = RowLedger()  # by accounting unit
        self._keys = None if table.unit == table.key else RowLedger()  # by primary key, to see doubled rows
        self._recorded = (0, 0.0)  # rows in expected.json, and when it was written
        self._closed: str | None = None
        self._forget_failed()
        self.refresh()

    # -- what is there -------------------------------------------------------------------------------------------

    def refresh(self) -> int:
        """Adopt committed parts that no receipt told of (their worker died first). Returns rows adopted.

        A part that is corrupt, or that repeats a row already known, is removed: its rows are done again.
        """
        adopted = 0
        for kind in ("parts", "drops"):
            for file, size in sorted(location.sizes(location.join(self.folder.path, kind)).items()):
                name = f"{kind}/{file}"
                if name not in self._parts and name not in self._drops:
                    adopted += self._adopt(name, size)
        return adopted

    def accept(self, receipt: Receipt) -> None:
        """Count what a worker committed.

        Raises:
            ArtifactError: a row is there already, or the lease is lost.
        """
        self._check_lease()
        for part in (*receipt.parts, *receipt.drops):
            if part.name not in self._parts and part.name not in self._drops:
                self._count(part)
        with self._changed:
            self.totals["num_tokens"] += receipt.num_tokens
            self.totals["num_requests"] += receipt.num_requests

    def stream(self) -> Iterator[Part]:
        """Parts with rows, as they are committed, until the writer is closed.

        Raises:
            ArtifactError: the writing step failed; what was streamed so far is committed and stays valid.
        """
        seen = 0
        while True:
            with self._changed:
                while seen >= len(self._committed) and self._closed is None:
                    self._changed.wait()
                fresh = self._committed[seen:]
                closed = self._closed
            yield from (part for part in fresh if part.name in self._parts)
            seen += len(fresh)
            if closed is not None and not fresh:
                if closed != "sealed":
                    raise ArtifactError(f"{self.folder.path}: the step that writes it failed: {closed}")
                return

    # -- what is to be done --------------------------------------------------------------------------------------

    def pending(self, wanted: Mapping[str, str | None]) -> list[str]:
        """Declare wanted rows and get those still to do, in order: not committed, not dropped, not taken over.

        A committed row whose guard differs from the wanted one is removed, and is to do again.

        Args:
            wanted: unit key -> guard. Rows of sibling artifacts are taken over when key and guard agree (the guard
                is the value of `Table.guard`; None where the table has none).
        """
        keys = list(wanted)
        with self._changed:
            at = self._expect(keys)
            stale = self._rows.is_stale_at(at, guards_from(wanted.values()))
        if stale.any():
            self._take_back({keys[i] for i in np.flatnonzero(stale)})
        with self._changed:
            missing = [keys[i] for i in np.flatnonzero(~self._rows.is_done_at(at))]
        if missing:
            taken = self._take_over(missing, wanted)
            missing = [key for key in missing if key not in taken] if taken else missing
        return missing

    def expect(self, keys: Iterable[str]) -> None:
        """Declare rows that came in. The number is kept beside the parts, so that a plan can say RESUME 61%."""
        with self._changed:
            self._expect(list(keys))

    def is_done(self, unit: str) -> bool:
        with self._changed:
            return self._rows.is_done(unit)

    @property
    def num_done(self) -> int:
        """Units that came out or were dropped."""
        with self._changed:
            return self._rows.num_done

    @property
    def num_expected(self) -> int:
        """Units that came in, as far as they are known."""
        with self._changed:
            return self._rows.num_expected

    # -- the end -------------------------------------------------------------------------------------------------

    def seal(self, header: Mapping[str, object]) -> Artifact:
        """Check the accounts and write the manifest.

        Raises:
            ArtifactError: a row is missing, unexpected or doubled; nothing is sealed.
        """
        self._check_lease()
        accounts = checked_accounts(self._rows, self.folder, self._parts, self._drops)
        self._remove_strays()
        manifest = {
            **header,
            "accounts": {
                "rows_in": accounts.rows_in,
                "rows_out": accounts.rows_out,
                "dropped": dict(accounts.dropped),
                "failed": dict(accounts.failed),
            },
            "rows": sum(part.rows for part in self._parts.values()),
            "rows_reused": self.rows_reused,
            "parts": parts_json(self._parts.values()),
            "drops": parts_json(self._drops.values()),
            "totals": dict(self.totals),
            "measures": dict(self.measures),
        }
        write_json(location.join(self.folder.path, "manifest.json"), manifest)
        self.close("sealed")
        sealed = read_manifest(self.folder.path)
        assert sealed is not None
        return Artifact(self.folder.path, self.table, sealed)

    def close(self, how: str) -> None:
        """End all streams: `sealed`, or why not."""
        with self._changed:
            self._closed = self._closed or how
            self._changed.notify_all()

    # -- private -------------------------------------------------------------------------------------------------

    def _expect(self, keys: list[str]) -> Positions:
        at = self._rows.expect(keys)
        rows, written = self._recorded
        if self._rows.num_expected != rows and time.monotonic() - written > RECORD_S:
            self._recorded = (self._rows.num_expected, time.monotonic())
            write_json(location.join(self.folder.path, "expected.json"), {"rows_in": self._rows.num_expected})
        return at

    def _adopt(self, name: str, size: int) -> int:
        try:
            is_part = name.startswith("parts/")
            rows = self.folder.read(name, self._columns if is_part else None)
            keys = part_keys(rows, self.table) if is_part else drop_keys(rows)
            self._count(Part(name, int(rows.num_rows), size, keys))
        except (ArtifactError, pa.ArrowException, OSError) as error:
            log.warning("%s/%s is set aside, its rows are done again: %s", self.folder.path, name, error)
            location.remove(location.join(self.folder.path, name))
            return 0
        return int(rows.num_rows)

    def _count(self, part: Part) -> None:
        """Raises:
        ArtifactError: a row is there already.
        """
        assert part.keys is not None, part
        keys, plain = part.keys, replace(part, keys=None)
        units = digests_from(keys.rows if keys.units is None else keys.units)
        with self._changed:
            if part.name.startswith("drops/"):
                self._rows.drop(units, keys.causes)
                self._drops[part.name] = plain
                return
            self._refuse_doubled(part.name, keys)
            self._rows.come_out(units, None if keys.guards is None else np.frombuffer(keys.guards, dtype="<u8"))
            if self._keys is not None:
                self._keys.come_out(digests_from(keys.rows), None)
            self._parts[part.name] = plain
            self._committed.append(plain)
            self._changed.notify_all()

    def _refuse_doubled(self, name: str, keys: PartKeys) -> None:
        """Some have a unit of several rows, so it is the primary keys that may not repeat."""
        known = self._rows if self._keys is None else self._keys
        doubled = known.is_out(digests_from(keys.rows))
        if doubled.any():
            names = keys_of(self.folder.read(name, self.table.key), self.table.key)
            first = min(names[i] for i in np.flatnonzero(doubled))
            raise ArtifactError(f"{self.folder.path}/{name} repeats {first}, which is committed already")

    @property
    def _columns(self) -> tuple[str, ...]:
        guard = () if self.table.guard is None else (self.table.guard,)
        return tuple(dict.fromkeys([*self.table.key, *self.table.unit, *guard]))

    def _forget_failed(self) -> None:
        """Rows that failed in an earlier run are tried again, since their cause may be mended; decisions stay."""
        for file in location.names(location.join(self.folder.path, "drops")):
            try:
                drops = self.folder.read(f"drops/{file}")
            except (ArtifactError, pa.ArrowException, OSError):
                continue  # `refresh` sets it aside
            decided = drops.filter(pc.not_equal(drops["kind"], "failed"))
            if decided.num_rows < drops.num_rows:
                self.folder.rewrite(f"drops/{file}", decided)

    def _take_back(self, stale: set[str]) -> None:
        """Remove rows whose guard says that they were made from something else under the same key."""
        for name in list(self._parts):
            rows = self.folder.read(name)
            units = keys_of(rows, self.table.unit)
            if not stale.isdisjoint(units):
                with self._changed:
                    del self._parts[name]
                    self._rows.take_back(digests_of(units))
                    if self._keys is not None:
                        self._keys.take_back(digests_of(keys_of(rows, self.table.key)))
                for part in self.folder.rewrite(name, rows.filter(pa.array([unit not in stale for unit in units]))):
                    self._count(part)

    def _take_over(self, missing: list[str], wanted: Mapping[str, str | None]) -> set[str]:
        taken: set[str] = set()
        for (folder, name), keys in self._siblings.find({key: wanted[key] for key in missing}).items():
            rows = folder.read(name)
            mask = pa.array([key in keys for key in keys_of(rows, self.table.unit)])
            for part in self.folder.write(rows.filter(mask)):
                self._count(part)
            taken |= keys
        self.rows_reused += len(taken)
        return taken

    def _remove_strays(self) -> None:
        known = self._parts.keys() | self._drops.keys()
        for kind in ("parts", "drops"):
            for file in location.names(location.join(self.folder.path, kind)):
                if f"{kind}/{file}" not in known:
                    location.remove(location.join(self.folder.path, kind, file))
