"""Results and row accounts as tables for a terminal.

Names come from configs and data sets, so they are put in as plain text: rich's markup is not interpreted in them.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from fusion.evaluation.compare import OVERALL
from fusion.evaluation.grid import Grid
from fusion.report.accounts import lost_rows, step_name
from fusion.report.number_text import count, duration, p_value, score, signed, signed_span, span
from fusion.report.results import domains_of, shown_models


def results_table(evaluation: pa.Table, comparison: pa.Table | None = None, target: str = "") -> Table:
    """Domain by model with 95% intervals, and under it the gain of final over base, where they were compared.

    Domains are rows: a run may have many of them, and few models.

    Args:
        evaluation: EVALUATION rows.
        comparison: COMPARISON rows.
        target: name of the target; its row as a source is left out where it equals base.
    """
    rows = evaluation.to_pylist()
    cells = {(row["model"], row["domain"]): row for row in rows}
    models = shown_models(rows, target)
    table = Table(box=None, pad_edge=False, caption_justify="left", caption_style="")
    table.add_column("")
    for model in models:
        table.add_column(Text(model), justify="right", style="bold" if model == "final" else "")
    for domain in [*domains_of(rows), OVERALL]:
        is_mean = domain == OVERALL
        label = Text("mean over domains" if is_mean else domain, "bold" if is_mean else "")
        table.add_row(label, *(_cell(cells[model, domain]) for model in models))
    if comparison is not None:
        table.caption = _gain_line(comparison)
    return table


def grid_table(grid: Grid) -> Table:
    """A grid of text; the first column names the rows."""
    table = Table(box=None, pad_edge=False, title=grid.title, title_justify="left", title_style="bold")
    for i, name in enumerate(grid.header):
        table.add_column(Text(name), justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in grid.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def accounts_table(result: Mapping[str, object]) -> Table:
    """One row a step of result.json: rows in, rows out, why the others did not go on, seconds."""
    table = Table(box=None, pad_edge=False)
    for name in ("step", "status"):
        table.add_column(name)
    for name in ("in", "out"):
        table.add_column(name, justify="right")
    table.add_column("did not go on")
    table.add_column("time", justify="right")
    steps = result.get("steps", [])
    assert isinstance(steps, list)
    for step in steps:
        lost = ", ".join(f"{count(rows)} {reason}" for reason, rows in lost_rows(step).items())
        table.add_row(
            Text(step_name(step)),
            str(step.get("status", "")),
            count(step["rows_in"]),
            count(step["rows_out"]),
            Text(lost),
            duration(float(step.get("seconds") or 0.0)),
        )
    return table


def _cell(row: Mapping[str, float]) -> Text:
    return Text.assemble(score(row["score"]), " ", (span(row["low"], row["high"]), "dim"))


def _gain_line(comparison: pa.Table) -> Text | None:
    for row in comparison.to_pylist():
        if (row["model"], row["against"], row["domain"]) == ("final", "base", OVERALL):
            style = "bold green" if row["low"] > 0 else "bold red" if row["high"] < 0 else "bold"
            return Text.assemble(
                "final - base: ",
                (signed(row["difference"]), style),
                f" {signed_span(row['low'], row['high'])} over {row['n']} prompts, {row['wins']} turned right and "
                f"{row['losses']} turned wrong, p {p_value(row['p_value'])}",
            )
    return None


def losses_table(losses: pa.Table) -> Table:
    """A TEXT_LOSS table, the best model first: bits per byte of unseen texts, and the difference to the baseline."""
    rows = sorted(losses.to_pylist(), key=lambda row: row["bits_per_byte"])
    table = Table(title=f"Loss on {rows[0]['n']} unseen texts", box=None, title_justify="left")
    for name in ("model", "nats a token", "bits a byte", f"less {rows[0]['baseline']}'s"):
        table.add_column(name, justify="left" if name == "model" else "right")
    for row in rows:
        less = (
            ""
            if row["difference"] is None
            else (f"{row['difference']:+.4f} [{row['difference_low']:+.4f}, {row['difference_high']:+.4f}]")
        )
        table.add_row(Text(row["model"]), f"{row['nats_per_token']:.4f}", f"{row['bits_per_byte']:.4f}", Text(less))
    return table
