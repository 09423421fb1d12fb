"""Answers that a selection does not use, counted by source and reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion.selection.base import Selection

if TYPE_CHECKING:
    import polars as pl


def unused(frame: pl.DataFrame, rule: Selection) -> dict[str, int]:
    """`reason/source` -> answers: empty, unranked, truncated, duplicate (after folding white space, of an answer of the
    same source to the same prompt), or the name of the verifier of `clean_by` that fails it. An answer may count twice.

    Duplicates stay in: their texts are one, so that they are picked once and never paired.

    Example: {"truncated/gemma": 3, "clean_text/qwen": 1}
    """
    import polars as pl

    counts: dict[str, int] = {}
    for domain, part in rule.parts(frame["domain"].unique().sort().to_list()).items():
        own = frame.filter(pl.col("domain") == domain)
        text = pl.col("prompt_id").hash() ^ pl.col("folded")
        reasons = {
            "empty": (pl.col("length") == 0).sum(),
            "truncated": (pl.col("finish_reason") == "length").sum(),
            "unranked": part.rank().is_null().sum(),
            "duplicate": pl.len() - text.n_unique(),
        } | {name: (pl.col(f"outcome:{name}") == "fail").sum() for name in part.clean_by}
        for row in own.group_by("source").agg(**reasons).iter_rows(named=True):
            for reason, number in row.items():
                if reason != "source" and number:
                    key = f"{reason}/{row['source']}"
                    counts[key] = counts.get(key, 0) + int(number)
    return dict(sorted(counts.items()))
