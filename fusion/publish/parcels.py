"""The data sets of a run as Parquet files, one folder a set, in the layout that `datasets.load_dataset` reads.

    prompts/  responses/  rewards/  sft/  dpo/     one file an artifact; rewards have a column `reward`

A part at a time goes through memory. Keys (`prompt_id`, `source`, `sample_index`) join the sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fusion.artifact import Artifact
from fusion.publish.secrets import without_secrets
from fusion.report.record import RunRecord

SETS = ("sft", "dpo", "responses", "rewards", "prompts")
"""In the order of the card; the first is what is loaded when none is named."""


@dataclass
class Parcel:
    """One data set as it was written.

    Example: Parcel("dpo", rows=120, masked=0, by_source={"gemma3_270m": 70, ...})
    """

    name: str
    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0
    masked: int = 0
    """Rows in which something that looks like a credential was replaced."""
    by_source: dict[str, int] = field(default_factory=dict)
    """Of pairs, by the source of the chosen answer."""
    by_domain: dict[str, int] = field(default_factory=dict)


def write(record: RunRecord, folder: Path) -> list[Parcel]:
    """Write every set that the run has rows of below `folder`; a set without rows has no file."""
    parcels = {name: Parcel(name) for name in SETS}
    for name, file, artifact, extra in _artifacts(record):
        _write(parcels[name], folder / name / f"{file}.parquet", artifact, extra)
    return [parcel for parcel in parcels.values() if parcel.rows]


def _artifacts(record: RunRecord) -> Iterator[tuple[str, str, Artifact, dict[str, str]]]:
    """(set, file, artifact, constant columns)"""
    for name, artifact in (("sft", record.sft), ("dpo", record.pairs), ("prompts", record.prompts)):
        if artifact is not None:
            yield name, "train", artifact, {}
    for source, responses in sorted(record.responses.items()):
        yield "responses", source, responses, {}
    for (source, reward), scores in sorted(record.rewards.items()):
        yield "rewards", f"{source}-{reward}", scores, {"reward": reward}


def _write(parcel: Parcel, path: Path, artifact: Artifact, extra: dict[str, str]) -> None:
    writer = None
    try:
        for part in artifact.parts:
            table, masked = without_secrets(artifact.folder.read(part.name))
            for name, value in extra.items():
                table = table.append_column(name, pa.array([value] * table.num_rows, pa.string()))
            if writer is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
            _count(parcel, table, masked)
    finally:
        if writer is not None:
            writer.close()


def _count(parcel: Parcel, table: pa.Table, masked: int) -> None:
    parcel.columns = [(one.name, str(one.type)) for one in table.schema]
    parcel.rows += table.num_rows
    parcel.masked += masked
    for counts, names in ((parcel.by_source, ("source", "chosen_source")), (parcel.by_domain, ("domain",))):
        found = [name for name in names if name in table.column_names]
        if found:
            for entry in table.column(found[0]).value_counts().to_pylist():
                counts[entry["values"]] = counts.get(entry["values"], 0) + entry["counts"]
