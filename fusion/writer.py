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

import pyarrow as pa
import pyarrow.compute as pc

from fusion import location
from fusion.artifact import (
    Accounts,
    Artifact,
    Part,
    PartFolder,
    Receipt,
    parts_json,
    read_manifest,
    write_json,
)
from fusion.errors import ArtifactError
from fusion.siblings import Siblings, guards_of, keys_of
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
        self._rows: set[str] = set()  # primary keys
        self._units: dict[str, str | None] = {}  # accounting units that came out, each with its guard
        self._dropped: dict[str, tuple[str, str]] = {}  # unit -> (kind, reason)
        self._expected: set[str] = set()
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
            for file in location.names(location.join(self.folder.path, kind)):
                name = f"{kind}/{file}"
                if name not in self._parts and name not in self._drops:
                    adopted += self._adopt(name)
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
                while seen >= len(self._parts) and self._closed is None:
                    self._changed.wait()
                fresh = list(self._parts.values())[seen:]
                closed = self._closed
            yield from fresh
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
        self.expect(wanted.keys())
        if stale := {key for key, guard in wanted.items() if guard not in (None, self._units.get(key, guard))}:
            self._take_back(stale)
        missing = [key for key in wanted if key not in self._units and key not in self._dropped]
        if missing:
            taken = self._take_over(missing, wanted)
            missing = [key for key in missing if key not in taken]
        return missing

    def expect(self, keys: Iterable[str]) -> None:
        """Declare rows that came in. The number is kept beside the parts, so that a plan can say RESUME 61%."""
        self._expected.update(keys)
        rows, written = self._recorded
        if len(self._expected) != rows and time.monotonic() - written > RECORD_S:
            self._recorded = (len(self._expected), time.monotonic())
            write_json(location.join(self.folder.path, "expected.json"), {"rows_in": len(self._expected)})

    def is_done(self, unit: str) -> bool:
        return unit in self._units or unit in self._dropped

    @property
    def num_done(self) -> int:
        """Units that came out or were dropped."""
        return len(self._units) + len(self._dropped)

    # -- the end -------------------------------------------------------------------------------------------------

    def seal(self, header: Mapping[str, object]) -> Artifact:
        """Check the accounts and write the manifest.

        Raises:
            ArtifactError: a row is missing, unexpected or doubled; nothing is sealed.
        """
        self._check_lease()
        done = self._units.keys() | self._dropped.keys()
        if missing := sorted(self._expected - done):
            raise ArtifactError(f"{self.folder.path}: {len(missing)} rows are missing, e.g. {missing[0]}; not sealed")
        if extra := sorted(done - self._expected):
            raise ArtifactError(f"{self.folder.path}: {len(extra)} unexpected rows, e.g. {extra[0]}; not sealed")
        both = self._units.keys() & self._dropped.keys()
        if both:
            raise ArtifactError(f"{self.folder.path}: {min(both)} is both a row and dropped; not sealed")
        reasons: dict[str, Counter[str]] = {"dropped": Counter(), "failed": Counter()}
        for kind, reason in self._dropped.values():
            reasons[kind][reason] += 1
        accounts = Accounts(len(self._expected), len(self._units), dict(reasons["dropped"]), dict(reasons["failed"]))
        accounts.check(self.folder.path)
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

    def _adopt(self, name: str) -> int:
        try:
            columns = self._columns if name.startswith("parts/") else None
            rows = int(self.folder.read(name, columns).num_rows)
            part = Part(name, rows, location.size(location.join(self.folder.path, name)))
            self._count(part)
        except (ArtifactError, pa.ArrowException, OSError) as error:
            log.warning("%s/%s is set aside, its rows are done again: %s", self.folder.path, name, error)
            location.remove(location.join(self.folder.path, name))
            return 0
        return rows

    def _count(self, part: Part) -> None:
        if part.name.startswith("drops/"):
            drops = self.folder.read(part.name).to_pylist()
            with self._changed:
                for drop in drops:
                    self._dropped[drop["key"]] = (drop["kind"], drop["reason"])
                self._drops[part.name] = part
            return
        keys = self.folder.read(part.name, self._columns)
        rows, units = keys_of(keys, self.table.key), keys_of(keys, self.table.unit)
        guards = guards_of(keys, self.table)
        with self._changed:
            if doubled := self._rows.intersection(rows):
                raise ArtifactError(
                    f"{self.folder.path}/{part.name} repeats {min(doubled)}, which is committed already"
                )
            self._rows.update(rows)
            self._units.update(zip(units, guards, strict=True))
            self._parts[part.name] = part
            self._changed.notify_all()

    @property
    def _columns(self) -> tuple[str, ...]:
        return self.table.key if self.table.guard is None else (*self.table.key, self.table.guard)

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
                    self._rows.difference_update(keys_of(rows, self.table.key))
                    for unit in units:
                        self._units.pop(unit, None)
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
