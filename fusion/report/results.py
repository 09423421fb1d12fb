"""The evaluation: every model by domain with its interval, and the paired differences."""

from __future__ import annotations

from fusion.evaluation.compare import OVERALL, ROLES
from fusion.evaluation.intervals import Interval
from fusion.report.charts import Dot, dot_panel
from fusion.report.number_text import p_value, score, signed, signed_span, span
from fusion.report.palette import Palette
from fusion.report.record import RunRecord

Row = dict[str, object]


def results(record: RunRecord, palette: Palette) -> dict[str, object] | None:
    """Context of the section; None: nothing was evaluated."""
    if record.evaluation is None:
        return None
    rows = record.evaluation.read().to_pylist()
    models, domains = shown_models(rows, record.target), domains_of(rows)
    by_key = {(row["model"], row["domain"]): row for row in rows}
    panels = []
    for domain in [OVERALL, *domains]:
        cells = [(model, by_key[model, domain]) for model in models]
        dots = [
            Dot(model, palette[model], Interval(row["score"], row["low"], row["high"]), model == "final")
            for model, row in cells
        ]
        title = "mean over domains" if domain == OVERALL else domain
        panels.append({"title": title, "n": cells[0][1]["n"], "chart": dot_panel(dots, f"scores, {title}")})
    table = [
        {
            "model": model,
            "colour": palette[model],
            "is_strong": model == "final",
            "cells": [_cell(by_key[model, domain]) for domain in [*domains, OVERALL]],
            "undecided": by_key[model, OVERALL]["undecided"],
        }
        for model in models
    ]
    return {"panels": panels, "domains": domains, "table": table, "comparisons": _comparisons(record, models, domains)}


def shown_models(rows: list[Row], target: str) -> list[str]:
    """Roles in order, then sources. A source that is the target and scored the same as base is not shown twice."""
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    base, same = _scores(rows, "base"), _scores(rows, target)
    hidden = {target} if base and base == same else set()
    return [r for r in ROLES if r in models] + [m for m in sorted(models) if m not in ROLES and m not in hidden]


def domains_of(rows: list[Row]) -> list[str]:
    return sorted({str(row["domain"]) for row in rows} - {OVERALL})


def _scores(rows: list[Row], model: str) -> dict[object, object]:
    return {row["domain"]: (row["score"], row["undecided"]) for row in rows if row["model"] == model}


def _cell(row: dict[str, float]) -> dict[str, str]:
    return {"score": score(row["score"]), "span": span(row["low"], row["high"])}


def _comparisons(record: RunRecord, models: list[str], domains: list[str]) -> list[dict[str, object]]:
    if record.comparison is None:
        return []
    rows = {(row["model"], row["against"], row["domain"]): row for row in record.comparison.read().to_pylist()}
    pairs = [pair for pair in dict.fromkeys((m, a) for m, a, _ in rows) if set(pair) <= set(models)]
    order = {model: i for i, model in enumerate(models)}
    pairs.sort(key=lambda pair: (pair[1] not in ROLES, pair != ("final", "base"), order[pair[0]], order[pair[1]]))
    found: list[dict[str, object]] = []
    for model, against in pairs:
        cells = [_difference(rows[model, against, domain]) for domain in [*domains, OVERALL]]
        overall = rows[model, against, OVERALL]
        found.append(
            {
                "model": model,
                "against": against,
                "cells": cells,
                "wins": overall["wins"],
                "losses": overall["losses"],
                "p_value": p_value(overall["p_value"]),
            }
        )
    return found


def _difference(row: dict[str, float]) -> dict[str, str]:
    certain = "gained" if row["low"] > 0 else "lost" if row["high"] < 0 else ""
    return {"value": signed(row["difference"]), "span": signed_span(row["low"], row["high"]), "certain": certain}
