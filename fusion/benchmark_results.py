"""The end of an evaluation on benchmarks: tables for the terminal and for papers, entries of result.json."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.text import Text

from fusion.artifact import Artifact
from fusion.evaluation.benchmark import Benchmark
from fusion.evaluation.compare import OVERALL
from fusion.evaluation.gate import decide
from fusion.evaluation.grid import SCORES_TITLE, grids, latex, markdown, notes
from fusion.evaluation.leaderboard import Leaderboard, leaderboard
from fusion.location import put
from fusion.recipe import Recipe
from fusion.report.terminal import grid_table
from fusion.runner import Outcome

SCORES = "benchmark/scores"
COMPARISONS = "comparison/benchmarks"
SHOWN_ROWS = 6
"""Longer tables than this are left to the files, but for the scores themselves."""


def board_of(recipe: Recipe, outcome: Outcome) -> Leaderboard:
    """The scores of a run."""
    rows, differences = (_rows(recipe, outcome, name) for name in (SCORES, COMPARISONS))
    target = recipe.config.target.name if recipe.config.target is not None else ""
    return leaderboard(recipe.config.benchmarks, rows, differences, target)


def result_entries(recipe: Recipe, outcome: Outcome) -> dict[str, object]:
    """`evaluation` (model -> benchmark -> score in [0, 1]), `benchmarks` (all that is known) and `gate`."""
    board = board_of(recipe, outcome)
    scores: dict[str, dict[str, object]] = {}
    for row in board.rows:
        one = board.benchmarks[str(row["benchmark"])]
        bounds = {key: one.rescaled(float(str(row[key]))) for key in ("score", "low", "high")}
        entry = {**bounds, "n": row["n"], "undecided": row["undecided"]}
        scores.setdefault(str(row["model"]), {})[str(row["benchmark"])] = entry
    entries: dict[str, object] = {"evaluation": scores, "benchmarks": _json(board)}
    if ("final", recipe.config.gate.against) in board.pairs:
        artifact = outcome.artifact(recipe.steps[COMPARISONS])
        assert isinstance(artifact, Artifact)
        areas = {name: one.area for name, one in board.benchmarks.items() if one.compared}
        differences = artifact.read(artifact.table.schema.names)
        counted = pc.is_in(differences["domain"], pa.array([OVERALL, *areas]))
        decision = decide(recipe.config.gate, differences.filter(counted), areas=areas)
        entries["gate"] = {"promoted": decision.promoted, "reasons": list(decision.reasons)}
    return entries


def write_tables(board: Leaderboard, folder: Path) -> list[Path]:
    """benchmarks.md and benchmarks.tex."""
    paths = []
    for name, text in (("benchmarks.md", markdown(board)), ("benchmarks.tex", latex(board))):
        put(str(folder / name), text.encode())
        paths.append(folder / name)
    return paths


def show(board: Leaderboard, console: Console) -> None:
    """Scores, and what stands under them where it is short; benchmarks.md has all of it."""
    for grid in grids(board):
        if grid.title == SCORES_TITLE or len(grid.rows) <= SHOWN_ROWS:
            console.print(grid_table(grid))
    for note in notes(board):
        console.print(Text(note, "dim"))


def _json(board: Leaderboard) -> dict[str, object]:
    scores = []
    for row in board.rows:
        name = str(row["benchmark"])
        cell, copies = board.cells[name, str(row["model"])], board.benchmarks[name].data.copies
        known = {"printed": asdict(cell.interval), "published": cell.published, "copy": copies.get(str(row["content"]))}
        scores.append({**row, **known})
    pairs = [
        {"model": model, "against": against, **asdict(one)}
        for (model, against), found in board.pairs.items()
        for one in found
    ]
    means = {model: asdict(one) for model, one in board.averages.items()}
    return {
        "about": {name: _about(one) for name, one in board.benchmarks.items()},
        "scores": scores,
        "averages": means,
        "differences": pairs,
        "tables": [asdict(grid) for grid in grids(board)],
        "notes": notes(board),
    }


def _about(benchmark: Benchmark) -> dict[str, object]:
    """`low` and `high` on the printed scale."""
    return {
        "title": benchmark.title,
        "area": benchmark.area,
        "metric": benchmark.metric.value,
        "low": benchmark.low * benchmark.printed,
        "high": benchmark.high * benchmark.printed,
        "is_judged": benchmark.is_judged,
        "is_counted": benchmark.compared,
        "published_in": benchmark.published_in,
    }


def _rows(recipe: Recipe, outcome: Outcome, name: str) -> list[dict[str, object]]:
    artifact = outcome.artifact(recipe.steps[name])
    assert isinstance(artifact, Artifact)
    return [dict(row) for row in artifact.read(artifact.table.schema.names).to_pylist()]
