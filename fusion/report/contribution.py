"""What each source supplied to the training rows, by tokens, and what a row that was accepted cost.

Tokens are each source's own count of its answers. Answers that came from a file often have none; the measure is then
characters, for all sources alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.report.number_text import count, percent, significant
from fusion.report.palette import Palette
from fusion.report.record import RunRecord

if TYPE_CHECKING:
    import polars as pl

USES = {"sft": "SFT", "chosen": "chosen", "rejected": "rejected"}


@dataclass(frozen=True, slots=True)
class Supplied:
    """One source's part. Sizes are in `Contribution.unit`.

    Example: Supplied("gemma3_270m", answers=240, made=5120, rows={"sft": 31, ...}, sizes={"sft": 620, ...})
    """

    source: str
    answers: int
    made: int
    """Size of all its answers."""
    rows: Mapping[str, int]
    sizes: Mapping[str, int]
    usd: float | None
    """What its answers cost by the configured price of a token; None: no price is configured."""

    @property
    def accepted(self) -> int:
        """Rows it won: SFT answers and chosen answers."""
        return self.rows["sft"] + self.rows["chosen"]


def supplied(record: RunRecord) -> tuple[str, list[Supplied]]:
    """(unit, one entry a source); unit is `tokens` or `characters`. No entries: nothing was answered."""
    import polars as pl

    if not record.responses or (record.sft is None and record.pairs is None):
        return "tokens", []
    frames = {source: _answers(record, source, "num_tokens") for source in sorted(record.responses)}
    unit = "tokens" if all(not frame["size"].null_count() for frame in frames.values()) else "characters"
    if unit == "characters":
        frames = {source: _answers(record, source, "text") for source in frames}
    used = _used(record)
    found = []
    for source, frame in frames.items():
        mine = used.filter(pl.col("source") == source).join(frame, on=["prompt_id", "sample_index"], how="left")
        by_use = {use: mine.filter(pl.col("use") == use) for use in USES}
        price = _price(record, source)
        made = int(frame["size"].sum())
        found.append(
            Supplied(
                source,
                answers=frame.height,
                made=made,
                rows={use: rows.height for use, rows in by_use.items()},
                sizes={use: int(rows["size"].sum() or 0) for use, rows in by_use.items()},
                usd=made * price / 1e6 if price and unit == "tokens" else None,
            )
        )
    return unit, found


def contribution(record: RunRecord, palette: Palette) -> dict[str, object] | None:
    """Context of the table; None: no training rows."""
    unit, parts = supplied(record)
    if not parts:
        return None
    totals = {use: sum(part.sizes[use] for part in parts) for use in USES}
    has_prices = any(part.usd is not None for part in parts)
    rows = [_row(part, totals, palette[part.source], has_prices) for part in parts]
    accepted, made = sum(part.accepted for part in parts), sum(part.made for part in parts)
    return {
        "unit": unit,
        "uses": [name for use, name in USES.items() if totals[use]],
        "has_prices": has_prices,
        "rows": rows,
        "accepted": count(accepted),
        "per_accepted": significant(made / accepted) if accepted else "",
    }


def _row(part: Supplied, totals: Mapping[str, int], colour: str, has_prices: bool) -> dict[str, object]:
    shares = [
        {
            "share": percent(part.sizes[use] / totals[use]),
            "bar": f"{100 * part.sizes[use] / totals[use]:.1f}",
            "size": count(part.sizes[use]),
        }
        for use in USES
        if totals[use]
    ]
    money = ""
    if has_prices and part.usd is not None:
        money = f"${significant(part.usd / part.accepted)}" if part.accepted else f"${significant(part.usd)} for none"
    return {
        "source": part.source,
        "colour": colour,
        "answers": count(part.answers),
        "made": count(part.made),
        "shares": shares,
        "accepted": count(part.accepted),
        "per_accepted": significant(part.made / part.accepted) if part.accepted else "none accepted",
        "money": money,
    }


def _answers(record: RunRecord, source: str, measure: str) -> pl.DataFrame:
    """prompt_id, sample_index, size of every answer."""
    import polars as pl

    frame = pl.from_arrow(record.responses[source].read([measure]))
    assert isinstance(frame, pl.DataFrame)
    size = pl.col("text").str.len_chars() if measure == "text" else pl.col(measure)
    return frame.select("prompt_id", "sample_index", size.cast(pl.Int64).alias("size"))


def _used(record: RunRecord) -> pl.DataFrame:
    """prompt_id, source, sample_index, use: one row for each place that an answer has in the training rows."""
    import polars as pl

    frames = []
    for use, artifact, source, index in (
        ("sft", record.sft, "source", "sample_index"),
        ("chosen", record.pairs, "chosen_source", "chosen_index"),
        ("rejected", record.pairs, "rejected_source", "rejected_index"),
    ):
        if artifact is not None:
            frame = pl.from_arrow(artifact.read([source, index]))
            assert isinstance(frame, pl.DataFrame)
            columns = ["prompt_id", pl.col(source).alias("source"), pl.col(index).alias("sample_index")]
            frames.append(frame.select(*columns, pl.lit(use).alias("use")))
    return pl.concat(frames)


def _price(record: RunRecord, source: str) -> float:
    """USD for a million answered tokens, where the source's endpoint has a budget with prices; 0: none."""
    sources = record.settings.get("sources")
    entry = sources.get(source) if isinstance(sources, dict) else None
    found: object = entry if isinstance(entry, dict) else {}
    generator = found.get("generator") if isinstance(found, dict) else None
    for key in ("budget", "usd_per_million_completion_tokens"):
        generator = generator.get(key) if isinstance(generator, dict) else None
    return float(generator) if isinstance(generator, int | float) else 0.0
