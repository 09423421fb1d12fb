"""All responses of a run with their verdicts, as columns: what the report's measures are made of. No text is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

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

    Whether a sample passed is the selection rule's own verdict (see `load`).
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
        """Mask of one source's samples; nothing of a model that answered nothing (a target that is no source)."""
        if source not in self.sources:
            return np.zeros(len(self.source_codes), dtype=bool)
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


CLEANERS = frozenset(["clean_text", "fits_target"])
"""Verifiers that say whether an answer may be used at all; they do not tell right from wrong."""


def load(record: RunRecord, verdict_by: Mapping[str, Sequence[str]] = MappingProxyType({})) -> Samples | None:
    """None: the run has no responses, or no prompts to tell their domains.

    Args:
        verdict_by: domain -> the verifiers that decide there, in order: the first that applies to an answer. In other
            domains an answer passed if some verifier says pass and none says fail.
    """
    if record.prompts is None or not record.responses:
        return None
    domains = record.prompts.read(["domain"])
    tables = [_of_source(record, source, domains, verdict_by) for source in sorted(record.responses)]
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


def _of_source(record: RunRecord, source: str, domains: pa.Table, verdict_by: Mapping[str, Sequence[str]]) -> pa.Table:
    table = record.responses[source].read(["num_tokens", "finish_reason"])
    table = table.set_column(table.column_names.index("source"), "source", pa.array([source] * table.num_rows))
    table = table.join(domains, "prompt_id", join_type="inner")
    verifiers: list[str] = []
    for (owner, reward), artifact in sorted(record.rewards.items()):
        if owner != source:
            continue
        scores = artifact.read(["outcome", "value"]).drop_columns("source")
        table = table.join(scores, ["prompt_id", "sample_index"], join_type="left outer")
        is_verifier = bool(np.isin(scores.column("outcome").to_numpy(), [Outcome.PASS, Outcome.FAIL]).any())
        kept, dropped = ("outcome", "value") if is_verifier else ("value", "outcome")
        table = table.drop_columns(dropped).rename_columns({kept: f"{kept} {reward}"})
        verifiers += [reward] if is_verifier else []
    outcomes = {name: table.column(f"outcome {name}").to_numpy() for name in verifiers}
    passed, failed = _verdicts(outcomes, table.column("domain").to_numpy(), verdict_by)
    table = table.drop_columns([f"outcome {name}" for name in verifiers])
    return table.append_column("passed", pa.array(passed)).append_column("failed", pa.array(failed))


def _verdicts(
    outcomes: Mapping[str, npt.NDArray[np.object_]],
    domains: npt.NDArray[np.object_],
    verdict_by: Mapping[str, Sequence[str]],
) -> tuple[Bools, Bools]:
    """Which samples passed and which failed; neither: undecided."""
    passed, failed = np.zeros(len(domains), bool), np.zeros(len(domains), bool)
    for name, said in outcomes.items():
        if name not in CLEANERS:
            passed |= said == Outcome.PASS
            failed |= said == Outcome.FAIL
    for domain, names in verdict_by.items():
        inside = domains == domain
        known = [outcomes[name] for name in names if name in outcomes]
        for said in reversed(known):
            applies = inside & np.isin(said, [one for one in Outcome if one is not Outcome.NOT_APPLICABLE])
            passed[applies], failed[applies] = said[applies] == Outcome.PASS, said[applies] == Outcome.FAIL
        if known:
            silent = inside & np.all([said == Outcome.NOT_APPLICABLE for said in known], axis=0)
            passed[silent], failed[silent] = False, False
    return passed, failed


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
