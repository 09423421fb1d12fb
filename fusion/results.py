"""The end of a run: its result, its report and cards, and what the terminal says of them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from fusion import benchmark_results
from fusion.artifact import Artifact
from fusion.costs.comparison import spending
from fusion.evaluation.outcome import result_entries
from fusion.location import put
from fusion.recipe import Recipe
from fusion.report.build import build
from fusion.report.cards import dataset_card, model_card
from fusion.report.record import RunRecord
from fusion.report.terminal import losses_table, results_table
from fusion.run_folder import RunFolder, write_result
from fusion.runner import Outcome
from fusion.selection.why import notes, unused_line
from fusion.stages.choose import ChooseConfig, sentence


def conclude(recipe: Recipe, outcome: Outcome, folder: Path, console: Console) -> dict[str, object]:
    """Write result.json, links, report and cards; print the table of results. Returns the result."""
    evaluation = _evaluation(recipe, outcome)
    name = recipe.config.name
    result = write_result(
        folder, name, recipe.config.store.path, outcome.planned, recipe.steps, outcome.artifacts,
        evaluation | spending(folder, outcome.artifacts),
    )  # fmt: skip
    run = RunFolder(folder, result)
    report = _write_report(run)
    for note in _selection_notes(recipe, outcome):
        console.print(f"[yellow]note  [/] {note}", soft_wrap=True, highlight=False)
    if benchmark_results.SCORES in recipe.steps:
        board = benchmark_results.board_of(recipe, outcome)
        benchmark_results.show(board, console)
        for path in benchmark_results.write_tables(board, folder):
            console.print(f"table   {path}")
    elif evaluation:
        if "choice" in evaluation:
            console.print(f"of the last checkpoints {evaluation['choice']}")
        scores, differences = _evaluation_tables(recipe, outcome)
        console.print(results_table(scores, differences, recipe.target.name))
    if "text_losses/scores" in recipe.steps:
        losses = outcome.artifact(recipe.steps["text_losses/scores"])
        assert isinstance(losses, Artifact)
        console.print(losses_table(losses.read(losses.table.schema.names)))
    gate = evaluation.get("gate")
    if isinstance(gate, Mapping):
        colour = "green" if gate["promoted"] else "yellow"
        verdict = "may be promoted" if gate["promoted"] else "is not promoted"
        console.print(f"[{colour}]the final model {verdict}[/]: {'; '.join(gate['reasons'])}")
    console.print(f"report  {report}\nresult  {folder / 'result.json'}")
    return result


def _selection_notes(recipe: Recipe, outcome: Outcome) -> list[str]:
    """Why prompts make no pair, what to type, and which answers were not used, for each selection of the run."""
    made = [outcome.artifact(step).manifest for step in recipe.steps.values() if step.kind == "pairs"]
    if not made:
        return []
    of_rules = recipe.selection.pairs_within_sources(), recipe.selection.windows_on_values()
    lost = [note for manifest in made for note in notes(manifest["accounts"]["dropped"], *of_rules)]  # type: ignore[index]
    return lost + [line for manifest in made if (line := unused_line(manifest.get("totals", {})))]  # type: ignore[arg-type]


def rewrite_report(arguments: Sequence[str]) -> int:
    """`fusion report RUN`"""
    parser = argparse.ArgumentParser(prog="fusion report", description="write a run's report again")
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("run")
    options = parser.parse_args(arguments)
    print(_write_report(RunFolder.open(options.runs, options.run)))
    return 0


def _write_report(run: RunFolder) -> Path:
    record = RunRecord.of(run.config_text, run.result, run.artifacts())
    path = run.path / "report.html"
    put(str(path), build(record).encode())
    if record.checkpoints:
        put(str(run.path / "models" / "README.md"), model_card(record).encode())
    for which in ("sft", "pairs"):
        if getattr(record, which) is not None:
            # Readers of a folder of Parquet files pass over names that start with an underscore.
            put(str(run.path / "data" / which / "_README.md"), dataset_card(record, which).encode())
    return path


def _evaluation(recipe: Recipe, outcome: Outcome) -> dict[str, object]:
    """`evaluation` (model -> domain -> score), `gain`, `gate` and, of several checkpoints, `choice` of result.json;
    empty where nothing was evaluated."""
    if benchmark_results.SCORES in recipe.steps:
        return benchmark_results.result_entries(recipe, outcome)
    if "evaluation/scores" not in recipe.steps:
        return {}
    scores, differences = _evaluation_tables(recipe, outcome)
    return _choice(recipe, outcome) | result_entries(scores, differences, recipe.evaluation.gate)


def _choice(recipe: Recipe, outcome: Outcome) -> dict[str, object]:
    """Which of the last checkpoints was taken, in words; empty where there was none to choose from."""
    step = recipe.steps.get("checkpoint/final")
    if step is None or not isinstance(step.config, ChooseConfig):
        return {}
    metrics = outcome.artifact(step).manifest["metrics"]
    assert isinstance(metrics, Mapping)
    return {"choice": sentence(metrics)}


def _evaluation_tables(recipe: Recipe, outcome: Outcome) -> list[pa.Table]:
    """EVALUATION and COMPARISON of the run."""
    tables = []
    for name in ("evaluation/scores", "comparison/scores"):
        artifact = outcome.artifact(recipe.steps[name])
        assert isinstance(artifact, Artifact)
        tables.append(artifact.read(artifact.table.schema.names))
    return tables
