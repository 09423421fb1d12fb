"""What each source can do, where they complement each other, and who supplied the training rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusion.artifact import Artifact
from fusion.report.number_text import count, percent, score
from fusion.report.palette import Palette
from fusion.report.record import RunRecord
from fusion.report.samples import Bools, Samples

ALL = "all domains"

NARROW = 0.09
"""A share below this has no room for its number inside the bar."""

Counted = tuple[str, dict[str, Counter[str]]]
"""What is counted, and how many rows each source supplied, by domain."""


def quality(samples: Samples | None, target: str) -> dict[str, object] | None:
    """Pass rates by source and domain, and the oracle that always picks a passing answer if there is one.

    None: there are no verdicts.
    """
    if samples is None or not samples.has_verdicts:
        return None
    masks = [(domain, samples.domain_codes == i) for i, domain in enumerate(samples.domains)]
    masks.append((ALL, np.ones(len(samples.domain_codes), bool)))
    rows = [_quality_row(samples, domain, mask, target) for domain, mask in masks]
    undecided = [
        f"{source} {percent(1 - float(samples.decided[samples.of(source)].mean()))}"
        for source in samples.sources
        if not samples.decided[samples.of(source)].all()
    ]
    has_several = any(row["ones"] != row["bests"] for row in rows)
    return {
        "sources": samples.sources,
        "rows": [
            row | {"cells": [*row["ones"], *(row["bests"] if has_several else []), row["oracle"]]} for row in rows
        ],
        "has_several": has_several,
        "has_target": target in samples.sources,
        "undecided": undecided,
    }


def shares(record: RunRecord, palette: Palette) -> dict[str, object] | None:
    """Share of SFT rows, chosen and rejected answers by source, for each domain. None: no training rows."""
    columns = [
        (name, counted)
        for name, artifact, column in (
            ("SFT answers", record.sft, "source"),
            ("chosen", record.pairs, "chosen_source"),
            ("rejected", record.pairs, "rejected_source"),
        )
        if (counted := _by_domain(artifact, column))
    ]
    if not columns:
        return None
    domains = sorted({domain for _, counted in columns for domain in counted})
    rows = [_share_row(ALL, domains, columns, palette)]
    rows += [_share_row(domain, [domain], columns, palette) for domain in domains]
    return {"columns": [name for name, _ in columns], "rows": rows}


def _share_row(name: str, domains: Sequence[str], columns: Sequence[Counted], palette: Palette) -> dict[str, object]:
    return {"domain": name, "bars": [_stack(counted, domains, palette) for _, counted in columns]}


def _quality_row(samples: Samples, domain: str, mask: Bools, target: str) -> dict[str, Any]:
    ones = [samples.pass_rate(mask & samples.of(source)) for source in samples.sources]
    bests = [samples.any_pass_rate(mask & samples.of(source)) for source in samples.sources]
    oracle = samples.any_pass_rate(mask)
    own = ones[samples.sources.index(target)] if target in samples.sources else None
    return {
        "domain": domain,
        "prompts": count(len(np.unique(samples.prompt_codes[mask]))),
        "ones": [_heat(value) for value in ones],
        "bests": [_heat(value) for value in bests],
        "oracle": _heat(oracle),
        "headroom": "" if own is None or oracle is None else f"+{oracle - own:.2f}",
    }


def _heat(value: float | None) -> dict[str, str]:
    """A cell: its number, and how deep its colour is (opacity, at most 0.5 so that ink stays readable)."""
    if value is None:
        return {"text": "", "depth": "0"}
    return {"text": score(value), "depth": f"{0.5 * value:.2f}"}


def _by_domain(artifact: Artifact | None, column: str) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    if artifact is not None:
        table = artifact.read(["domain", column])
        for domain, source in zip(table.column("domain").to_pylist(), table.column(column).to_pylist(), strict=True):
            found.setdefault(domain, Counter())[source] += 1
    return found


def _stack(counted: dict[str, Counter[str]], domains: Sequence[str], palette: Palette) -> dict[str, object]:
    total: Counter[str] = Counter()
    for domain in domains:
        total.update(counted.get(domain, Counter()))
    number = total.total()
    parts = [
        {
            "tip": f"{source}: {count(rows)}",
            "colour": palette[source],
            "label": count(rows) if rows >= NARROW * number else "",
            "share": f"{100 * rows / number:.1f}",
        }
        for source, rows in sorted(total.items())
    ]
    return {"parts": parts, "total": count(number)}
