"""All responses of a run with their verdicts, as columns: what the report's measures are made of. No text is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fusion.report.record import RunRecord
from fusion.schema import Outcome

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Samples:
    """Columns over all samples of all sources; codes are indices into names.

    A sample passed when some verifier says pass and none says fail.
    """

    sources: Sequence[str]
    domains: Sequence[str]
    source_codes: Codes
    domain_codes: Codes
    prompt_codes: Codes
    num_tokens: Floats
    is_cut: Bools
    """Ended by the length limit."""
    passed: Bools
    decided: Bools
    """A verifier said pass or fail."""
    values: Mapping[str, Floats]
    """Reward -> its values; NaN where it has none. Rewards that give numbers only."""

    @property
    def has_verdicts(self) -> bool:
        return bool(self.decided.any())

    def of(self, source: str) -> Bools:
        """Mask of one source's samples."""
        return np.asarray(self.source_codes == self.sources.index(source))

    def pass_rate(self, mask: Bools) -> float | None:
        """Share of samples that passed; undecided ones did not. None: no samples."""
        return float(self.passed[mask].mean()) if mask.any() else None

    def any_pass_rate(self, mask: Bools) -> float | None:
        """Share of prompts with at least one passing sample: what selection can reach. None: no samples."""
        if not mask.any():
            return None
        solved = np.unique(self.prompt_codes[mask & self.passed])
        return len(solved) / len(np.unique(self.prompt_codes[mask]))


def load(record: RunRecord) -> Samples | None:
    """None: the run has no responses, or no prompts to tell their domains."""
    if record.prompts is None or not record.responses:
        return None
    domains = record.prompts.read(["domain"])
    tables = [_of_source(record, source, domains) for source in sorted(record.responses)]
    merged = pa.concat_tables(tables, promote_options="default")
    source_codes, sources = _codes(merged, "source")
    domain_codes, names = _codes(merged, "domain")
    measured = [name for name in merged.column_names if name.startswith("value ")]
    values = {name.removeprefix("value "): _floats(merged, name) for name in measured}
    return Samples(
        sources=sources,
        domains=names,
        source_codes=source_codes,
        domain_codes=domain_codes,
        prompt_codes=_codes(merged, "prompt_id")[0],
        num_tokens=_floats(merged, "num_tokens"),
        is_cut=np.asarray(merged.column("finish_reason").to_numpy() == "length"),
        passed=_flags(merged, "passed") & ~_flags(merged, "failed"),
        decided=_flags(merged, "passed") | _flags(merged, "failed"),
        values={name: column for name, column in values.items() if np.isfinite(column).any()},
    )


def _of_source(record: RunRecord, source: str, domains: pa.Table) -> pa.Table:
    table = record.responses[source].read(["num_tokens", "finish_reason"])
    table = table.set_column(table.column_names.index("source"), "source", pa.array([source] * table.num_rows))
    table = table.join(domains, "prompt_id", join_type="inner")
    passed, failed = np.zeros(table.num_rows, bool), np.zeros(table.num_rows, bool)
    for (owner, reward), artifact in sorted(record.rewards.items()):
        if owner != source:
            continue
        scores = artifact.read(["outcome", "value"]).drop_columns("source")
        table = table.join(scores, ["prompt_id", "sample_index"], join_type="left outer")
        table = table.sort_by([("prompt_id", "ascending"), ("sample_index", "ascending")])
        outcomes = table.column("outcome").to_numpy()
        is_verifier = bool(np.isin(outcomes, [Outcome.PASS, Outcome.FAIL]).any())
        if is_verifier:
            aligned = {"passed": outcomes == Outcome.PASS, "failed": outcomes == Outcome.FAIL}
            for name, flags in aligned.items():
                table = table.append_column(f"{name} {reward}", pa.array(flags))
        else:
            table = table.append_column(f"value {reward}", table.column("value"))
        table = table.drop_columns(["outcome", "value"])
    for name in [name for name in table.column_names if name.startswith(("passed ", "failed "))]:
        target = passed if name.startswith("passed ") else failed
        target |= table.column(name).to_numpy()
        table = table.drop_columns(name)
    return table.append_column("passed", pa.array(passed)).append_column("failed", pa.array(failed))


def _codes(table: pa.Table, name: str) -> tuple[Codes, list[str]]:
    """Each value as its number among the sorted distinct values."""
    encoded = table.column(name).combine_chunks().dictionary_encode()
    names = np.asarray(encoded.dictionary.to_pylist(), dtype=object)
    order = np.argsort(names)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[encoded.indices.to_numpy()], [str(one) for one in names[order]]


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table.column(name).to_numpy(), dtype=np.float64)


def _flags(table: pa.Table, name: str) -> Bools:
    return np.asarray(table.column(name).to_numpy(), dtype=bool)
