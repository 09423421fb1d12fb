"""What an evaluation on benchmarks found, ready to be written in any format: text cells in grids."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fusion.evaluation.averages import Averages, averages, holm
from fusion.evaluation.benchmark import Benchmark
from fusion.evaluation.compare import OVERALL, ROLES
from fusion.evaluation.intervals import Interval

Row = Mapping[str, object]
AVERAGES = {
    "as_printed": "average, as papers print it",
    "equal_scales": "average, scales made equal",
    "not_judged": "average, without judges",
}
DASH = "-"


@dataclass(frozen=True, slots=True)
class Cell:
    """One score on the printed scale. Example: Cell(Interval(85.9, 84.0, 87.8), 86.4)"""

    interval: Interval
    published: float | None = None
    """What others measured of this model."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One paired difference in points, on scales made equal; `p_holm` is corrected for the pair's benchmarks."""

    benchmark: str
    interval: Interval
    n: int
    wins: int
    losses: int
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Leaderboard:
    """Scores of models on benchmarks, and what is to be known to read them."""

    benchmarks: Mapping[str, Benchmark]
    models: Sequence[str]
    cells: Mapping[tuple[str, str], Cell]
    """(benchmark, model) -> score; absent: that model did not answer it."""
    rows: Sequence[Row]
    """As BENCHMARK."""
    averages: Mapping[str, Averages]
    """By model; empty where only one benchmark counts."""
    pairs: Mapping[tuple[str, str], Sequence[Difference]]
    """(model, against) -> differences, OVERALL last."""


def leaderboard(
    benchmarks: Mapping[str, Benchmark], rows: Iterable[Row], comparison: Iterable[Row], target: str = ""
) -> Leaderboard:
    """Args:
    rows: BENCHMARK rows.
    comparison: COMPARISON rows.
    target: name of the target, under which published numbers of base, sft and final stand.
    """
    found = list(rows)
    models = _in_order([str(row["model"]) for row in found])
    cells: dict[tuple[str, str], Cell] = {}
    natural: dict[str, dict[str, Interval]] = {model: {} for model in models}
    for row in found:
        name, model = str(row["benchmark"]), str(row["model"])
        interval = Interval(*(float(row[key]) for key in ("score", "low", "high")))  # type: ignore[arg-type]
        natural[model][name] = interval
        one = benchmarks[name]
        known = one.published.get(model, one.published.get(f"{target}/{model}"))
        cells[name, model] = Cell(_scaled(interval, one.printed), known)
    several = sum(one.compared for one in benchmarks.values()) > 1
    means = {model: averages(benchmarks, natural[model]) for model in models} if several else {}
    return Leaderboard(benchmarks, models, cells, found, means, _pairs(comparison))


def _in_order(models: Iterable[str]) -> list[str]:
    """Base, sft and final, then the others by name."""
    found = set(models)
    return [role for role in ROLES if role in found] + sorted(found - set(ROLES))


def _pairs(comparison: Iterable[Row]) -> dict[tuple[str, str], list[Difference]]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in comparison:
        grouped.setdefault((str(row["model"]), str(row["against"])), []).append(row)
    made = {}
    for pair, rows in grouped.items():
        single = [row for row in rows if row["domain"] != OVERALL]
        corrected = holm([float(str(row["p_value"])) for row in single])
        differences = [_difference(row, p) for row, p in zip(single, corrected, strict=True)]
        overall = [_difference(row, float(str(row["p_value"]))) for row in rows if row["domain"] == OVERALL]
        made[pair] = [*differences, *overall] if len(single) > 1 else differences
    return made


def _difference(row: Row, p_holm: float) -> Difference:
    interval = Interval(*(float(str(row[key])) for key in ("difference", "low", "high")))
    num_items, wins, losses = (int(str(row[key])) for key in ("n", "wins", "losses"))
    p_value = float(str(row["p_value"]))
    return Difference(str(row["domain"]), _scaled(interval, 100), num_items, wins, losses, p_value, p_holm)


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(factor * interval.value, factor * interval.low, factor * interval.high)
