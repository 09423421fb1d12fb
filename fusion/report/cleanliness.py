"""What was wrong with each source's answers, whether or not it kept them out of training, and what was lost of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from fusion.artifact import Artifact
from fusion.hygiene.finding import Kind
from fusion.report.accounts import lost_rows, step_name
from fusion.report.number_text import count, percent
from fusion.report.palette import Palette
from fusion.report.record import RunRecord
from fusion.schema import Outcome

if TYPE_CHECKING:
    import polars as pl

EMPTY, CUT, TWICE, LONG = "empty", "cut off by the limit", "the same text again", "too long for the target"
KINDS = {
    Kind.IDENTITY: "another model's identity",
    Kind.REASONING: "leaked reasoning",
    Kind.TEMPLATE: "template tokens",
    Kind.SECRET: "a secret",
    Kind.PERSONAL: "personal data",
}
FOUND = re.compile(rf"(?:^|; )({'|'.join(KINDS)}): ")
"""How `fusion.rewards.clean_text` words what it found."""
OVER = re.compile(r"\d+ tokens, over the ")
"""How `fusion.rewards.fits_target` words it."""


def cleanliness(record: RunRecord, palette: Palette) -> dict[str, object] | None:
    """A row a source, a column for each thing that any source's answers had; None: there are no answers."""
    if not record.responses:
        return None
    counted = {source: counts(record, source) for source in sorted(record.responses)}
    checked = [EMPTY, CUT, TWICE, *_checked(record)]
    lost = sorted({name for one in counted.values() for name in one} - set(checked))
    columns = [name for name in [*checked, *lost] if any(one[name] for one in counted.values())]
    rows = []
    for source, one in counted.items():
        answers = record.responses[source].accounts.rows_out
        cells = [
            {"count": count(one[name]), "share": percent(one[name] / answers) if answers else ""} for name in columns
        ]
        rows.append({"source": source, "colour": palette[source], "answers": count(answers), "cells": cells})
    every = [EMPTY, CUT, TWICE, *KINDS.values(), LONG]
    return {
        "columns": columns,
        "rows": rows,
        "absent": [name for name in checked if name not in columns],
        "unchecked": [name for name in every if name not in checked],
    }


def counts(record: RunRecord, source: str) -> Counter[str]:
    """Answers of a source by what is wrong with them (one may count several times), and rows lost by their reason."""
    found = _of_texts(record.responses[source])
    for (owner, _), artifact in sorted(record.rewards.items()):
        if owner == source:
            found.update(_of_details(artifact))
    for step in record.steps:
        name = step_name(step)
        if name == f"responses/{source}" or (name.startswith(f"rewards/{source}-") and step.get("failed")):
            for reason, rows in lost_rows(step).items():
                found[reason.replace("_", " ")] += rows
    return found


def _of_texts(artifact: Artifact) -> Counter[str]:
    import polars as pl

    frame = pl.from_arrow(artifact.read(["text", "finish_reason"]))
    assert isinstance(frame, pl.DataFrame)
    folded = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars()
    frame = frame.select("prompt_id", "finish_reason", folded.alias("folded"))
    said = frame.filter(pl.col("folded") != "")
    return Counter(
        {
            EMPTY: frame.height - said.height,
            CUT: int((frame["finish_reason"] == "length").sum()),
            TWICE: said.height - said.select(_pair()).n_unique(),
        }
    )


def _pair() -> pl.Expr:
    """Prompt and text: an answer that one source gave twice to one prompt."""
    import polars as pl

    return pl.struct("prompt_id", pl.col("folded").hash())


def _of_details(artifact: Artifact) -> Counter[str]:
    table = artifact.read(["outcome", "detail"])
    failed = table.filter(pc.equal(table["outcome"], Outcome.FAIL.value))
    found: Counter[str] = Counter()
    for detail in failed["detail"].to_pylist():
        found.update({KINDS[Kind(kind)] for kind in FOUND.findall(detail or "")})
        if OVER.match(detail or ""):
            found[LONG] += 1
    return found


def _checked(record: RunRecord) -> list[str]:
    """What the run's own checks look for."""
    names = {reward for _, reward in record.rewards} | set(_configured(record))
    return [*(KINDS.values() if "clean_text" in names else ()), *((LONG,) if "fits_target" in names else ())]


def _configured(record: RunRecord) -> Mapping[str, object]:
    found = record.settings.get("rewards")
    return found if isinstance(found, dict) else {}
