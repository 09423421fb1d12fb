"""An artifact: a folder of parts and a manifest, written last. No manifest, no artifact.

    store/<kind>/<label>-<fingerprint>/
        recipe.json          what it is, from its first moment
        parts/<sha>.parquet  rows; the name is the content's own hash, so a torn or corrupt part is seen
        drops/<sha>.parquet  rows that did not go on, with their reasons
        manifest.json        the parts that count, and the accounts: rows in = rows out + dropped + failed

A worker commits a part before it reports it (`PartFolder.write` returns only when the part is durable). Resuming is an
anti-join: what the parts hold is not done again. Parts that the manifest does not list do not exist.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from fusion import location
from fusion.errors import ArtifactError
from fusion.part_keys import PartKeys, drop_keys, part_keys
from fusion.schema import DROP, Reason, key_string
from fusion.table import Table

FAILED = frozenset({Reason.REQUEST_FAILED, Reason.SCORER_FAILED})
"""Reasons that are faults of a row rather than decisions about it; they count as failed, not as dropped."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """One committed file: `name` is relative to the artifact, e.g. `parts/0f3c....parquet`."""

    name: str
    rows: int
    bytes: int
    keys: PartKeys | None = field(default=None, compare=False, repr=False)
    """Only in what its writer reports; no manifest holds it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a worker reports after it has committed: which parts, and what it cost. Payloads never travel."""

    parts: tuple[Part, ...] = ()
    drops: tuple[Part, ...] = ()
    num_tokens: int = 0
    num_requests: int = 0
    seconds: float = 0.0
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Rows of `drops` by reason, for who watches."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """Row accounting of one step, in units of `Table.unit`."""

    rows_in: int
    rows_out: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)

    def check(self, where: str) -> None:
        """Raises:
        ArtifactError: rows are missing or doubled.
        """
        total = self.rows_out + sum(self.dropped.values()) + sum(self.failed.values())
        if total != self.rows_in:
            raise ArtifactError(
                f"{where}: {self.rows_in} rows in, but {self.rows_out} out + {dict(self.dropped)} dropped + "
                f"{dict(self.failed)} failed = {total}; nothing was sealed"
            )


@dataclass(frozen=True, slots=True)
class PartFolder:
    """The writing end that travels to workers: a folder and the table it holds. Stateless."""

    path: str
    table: Table

    def write(self, rows: pa.Table) -> tuple[Part, ...]:
        """Commit rows as one part; returns when it is durable. No rows, no part."""
        self.table.check(rows)
        return self._write("parts", rows)

    def write_drops(self, drops: Sequence[tuple[Sequence[object], Reason, str]]) -> tuple[Part, ...]:
        """Commit `(unit key values, reason, detail)` rows."""
        rows = [
            {"key": key_string(key), "reason": reason.value, "kind": _kind(reason), "detail": detail[:500]}
            for key, reason, detail in drops
        ]
        return self._write("drops", DROP.build(rows))

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Raises:
        ArtifactError: the content is not what the name says (torn or corrupt).
        """
        data = self.check_content(name)
        # Arrow's own threads hold slices of what they read for a moment after the call. Were that a Python object, a
        # process that ends in that moment would abort ("terminate called without an active exception", 1 in 30).
        native = pa.allocate_buffer(len(data))
        memoryview(native).cast("B")[:] = data
        return pq.read_table(pa.BufferReader(native), columns=None if columns is None else list(columns))

    def check_content(self, name: str) -> bytes:
        """The bytes of a part.

        Raises:
            ArtifactError: as `read`.
        """
        data = location.get(location.join(self.path, name))
        if _part_name(data) != name.rsplit("/", 1)[-1]:
            raise ArtifactError(f"{self.path}/{name} is corrupt: its content does not match its name")
        return data

    def rewrite(self, name: str, rows: pa.Table) -> tuple[Part, ...]:
        """Put `rows` in the place of a part; the new one is durable before the old one goes."""
        parts = self._write(name.split("/")[0], rows)
        if name not in {part.name for part in parts}:
            location.remove(location.join(self.path, name))
        return parts

    def _write(self, folder: str, rows: pa.Table) -> tuple[Part, ...]:
        if not rows.num_rows:
            return ()
        buffer = io.BytesIO()
        pq.write_table(rows, buffer, compression="zstd")
        data = buffer.getvalue()
        name = f"{folder}/{_part_name(data)}"
        location.put(location.join(self.path, name), data)
        keys = drop_keys(rows) if folder == "drops" else part_keys(rows, self.table)
        return (Part(name, rows.num_rows, len(data), keys),)


@dataclass(frozen=True)
class Artifact:
    """A sealed table: what its manifest lists, nothing else."""

    path: str
    table: Table
    manifest: Mapping[str, object]

    @property
    def folder(self) -> PartFolder:
        return PartFolder(self.path, self.table)

    @property
    def parts(self) -> list[Part]:
        return [Part(**entry) for entry in self.manifest["parts"]]  # type: ignore[attr-defined]

    @property
    def accounts(self) -> Accounts:
        return Accounts(**self.manifest["accounts"])  # type: ignore[arg-type]

    @property
    def digest(self) -> str:
        """Content hash: part names are hashes of their content."""
        names = [entry["name"] for kind in ("parts", "drops") for entry in self.manifest[kind]]  # type: ignore[attr-defined]
        return hashlib.sha256("".join(sorted(names)).encode()).hexdigest()

    def damage(self) -> str | None:
        """What is wrong with the content, or None; reads and hashes every part."""
        for entry in [*self.manifest["parts"], *self.manifest["drops"]]:  # type: ignore[misc]
            try:
                self.folder.check_content(entry["name"])
            except ArtifactError as error:
                return str(error)
        return None

    def stream(self) -> Iterator[Part]:
        """Parts in manifest order; the same call on a writer yields parts while they are being committed."""
        yield from self.parts

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, sorted by primary key, so that equal artifacts read equal whatever order their parts came in."""
        names = None if columns is None else list(dict.fromkeys([*self.table.key, *columns]))
        schema = self.table.schema if names is None else pa.schema([self.table.schema.field(n) for n in names])
        tables = [self.folder.read(part.name, names) for part in self.parts]
        merged = pa.concat_tables(tables) if tables else schema.empty_table()
        return merged.sort_by([(key, "ascending") for key in self.table.key]).combine_chunks()

    def drops(self) -> pa.Table:
        """The DROP rows, sorted by key."""
        names = [entry["name"] for entry in self.manifest["drops"]]  # type: ignore[attr-defined]
        tables = [self.folder.read(name) for name in names]
        merged = pa.concat_tables(tables) if tables else DROP.schema.empty_table()
        return merged.sort_by([("key", "ascending")]).combine_chunks()


def open_artifact(path: str, table: Table) -> Artifact | None:
    """The sealed table at `path`, or None if it is not sealed or a listed part is missing or of another size."""
    manifest = read_manifest(path)
    if manifest is None:
        return None
    there = {f"{kind}/{name}": size for kind in ("parts", "drops") for name, size in _sizes(path, kind, manifest)}
    for entry in [*manifest["parts"], *manifest["drops"]]:  # type: ignore[misc]
        if there.get(entry["name"]) != entry["bytes"]:
            log.warning("%s: part %s is missing or torn; its rows will be done again", path, entry["name"])
            return None
    return Artifact(path, table, manifest)


def _sizes(path: str, kind: str, manifest: Mapping[str, object]) -> Iterable[tuple[str, int]]:
    """Of a kind of parts, by one listing; none if the manifest lists none."""
    return location.sizes(location.join(path, kind)).items() if manifest[kind] else ()


def read_manifest(path: str) -> dict[str, object] | None:
    """The manifest, or None. A manifest is written whole, so one that does not parse is damage."""
    where = location.join(path, "manifest.json")
    if not location.exists(where):
        return None
    try:
        return dict(json.loads(location.get(where)))
    except ValueError:
        log.warning("%s does not parse; its artifact is treated as unsealed", where)
        return None


def write_json(path: str, value: Mapping[str, object]) -> None:
    location.put(path, (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode())


def reasons_of(drops: Iterable[tuple[Sequence[object], Reason, str]]) -> dict[str, int]:
    """`Receipt.reasons` of what was given to `PartFolder.write_drops`."""
    return dict(Counter(reason.value for _, reason, _ in drops))


def parts_json(parts: Iterable[Part]) -> list[dict[str, object]]:
    ordered = sorted(parts, key=lambda part: part.name)
    return [{"name": part.name, "rows": part.rows, "bytes": part.bytes} for part in ordered]


def _part_name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32] + ".parquet"


def _kind(reason: Reason) -> str:
    return "failed" if reason in FAILED else "dropped"
