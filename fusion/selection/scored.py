"""Scored answers as a rule sees them: which may win and which may lose, their total order, and why prompts have none.

Order is total everywhere: ranking reward, then the shorter text, then source order, then sample index. So equal
inputs give equal rows, whatever order they came in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.schema import Reason
from fusion.selection.base import Selection, WindowScale

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Answers:
    """Rows of the frame of `fusion.selection.base`, with `rank` and `is_ranked`, in four layers."""

    answered: pl.DataFrame
    """Not empty, and ranked."""
    usable: pl.DataFrame
    """Of these, those that no verifier of `clean_by` fails."""
    whole: pl.DataFrame
    """Of these, those that may win: not cut off."""
    losing: pl.DataFrame
    """Of the usable ones, those that may lose."""


def answers(frame: pl.DataFrame, rule: Selection) -> Answers:
    """Sort the answers of one rule's prompts."""
    import polars as pl

    frame = frame.with_columns(rule.rank().alias("rank"), rule.is_ranked().alias("is_ranked"))
    answered = frame.filter((pl.col("length") > 0) & pl.col("rank").is_not_null())
    usable = answered
    for verifier in rule.clean_by:
        usable = usable.filter(pl.col(f"outcome:{verifier}").is_null() | (pl.col(f"outcome:{verifier}") != "fail"))
    whole = usable.filter((pl.col("finish_reason") != "length") & rule.chosen())
    losing = usable.filter(rule.rejected())
    if not rule.truncated_rejected:
        losing = losing.filter(pl.col("finish_reason") != "length")
    return Answers(answered, usable, whole, losing)


def best(rows: pl.DataFrame, by: list[str], worst: bool = False) -> pl.DataFrame:
    """First row of each group in the total order; `worst` takes the lowest reward, ties as before."""
    import polars as pl

    extreme = pl.col("rank").min() if worst else pl.col("rank").max()
    level = rows.filter(pl.col("rank") == extreme.over(by))  # most rows go, so that few are left to sort
    return level.sort("length", "source_order", "sample_index").unique(subset=by, keep="first", maintain_order=True)


def in_window(candidates: pl.DataFrame, rule: Selection) -> pl.DataFrame:
    """Rows whose `margin` makes a pair."""
    import polars as pl

    positive = candidates.filter(pl.col("margin") > 0)
    ranked = positive.filter("is_ranked")
    low, high = rule.window.low, rule.window.high
    if rule.window.scale is WindowScale.QUANTILE and ranked.height:
        margins = ranked["margin"]
        low, high = margins.quantile(low, "linear") or 0.0, margins.quantile(high, "linear") or 0.0
    # A margin is a difference of two fp32 rewards: 0.10 itself must pass.
    return positive.filter(~pl.col("is_ranked") | pl.col("margin").is_between(low - 1e-7, high + 1e-7))


def rules_of(prompts: pl.DataFrame, rule: Selection) -> list[tuple[Selection, list[str]]]:
    """Each rule with its domains; domains that share one are seen together.

    Raises:
        ConfigError: a domain has no rule.
    """
    domains: dict[int, tuple[Selection, list[str]]] = {}
    for domain, part in rule.parts(prompts["domain"].unique().sort().to_list()).items():
        domains.setdefault(id(part), (part, []))[1].append(domain)
    return list(domains.values())


def is_first_share(share: float) -> pl.Expr:
    """Whether a prompt of a `drawn` frame is of the first int(share * N) of its data set."""
    import polars as pl

    position, size = pl.int_range(pl.len()).over("dataset"), pl.len().over("dataset")
    # 1e-9: int(0.4 * N) must not lose a row to the binary form of 0.4.
    return position < (size * share + 1e-9).floor()


def drawn(prompts: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Prompts in an order that is random, seeded, and the same for ever, data set by data set."""
    import polars as pl

    return prompts.with_columns(draw(pl.col("prompt_id"), seed).alias("draw")).sort("dataset", "draw", "prompt_id")


def draw(column: pl.Expr, seed: int) -> pl.Expr:
    """A stable pseudo-random order: sha256 in Python, since polars does not keep its hash between versions."""
    import hashlib

    import polars as pl

    def drawn_values(values: pl.Series) -> pl.Series:
        digests = [hashlib.sha256(f"{seed}/{value}".encode()).digest()[:8] for value in values]
        return pl.Series([int.from_bytes(digest, "big") for digest in digests], dtype=pl.UInt64)

    return column.map_batches(drawn_values, return_dtype=pl.UInt64)


# -- prompts that have none --------------------------------------------------------------------------------------------


def lacking(prompts: pl.DataFrame, rows: pl.DataFrame, reason: Reason) -> pl.DataFrame:
    """prompt_id, reason of prompts without a row."""
    import polars as pl

    missing = prompts.join(rows.select("prompt_id").unique(), on="prompt_id", how="anti")
    return missing.select("prompt_id", pl.lit(reason.value).alias("reason"))


def unclean(found: Answers) -> pl.DataFrame:
    """prompt_id, reason of prompts that had answers, none of them clean."""
    return lacking(found.answered.select("prompt_id").unique(), found.usable, Reason.UNCLEAN)


def first_reason(reasons: list[pl.DataFrame]) -> pl.DataFrame:
    """One reason a prompt: that of the first frame that has it."""
    import polars as pl

    return pl.concat(reasons).unique(subset=["prompt_id"], keep="first", maintain_order=True)


def drops(prompts: pl.DataFrame, out: pl.DataFrame, reasons: list[pl.DataFrame]) -> pl.DataFrame:
    """prompt_id and first reason of every prompt that is not in `out`."""
    missing = prompts.join(out.select("prompt_id").unique(), on="prompt_id", how="anti").select("prompt_id")
    return missing.join(first_reason(reasons), on="prompt_id", how="left").sort("prompt_id")
