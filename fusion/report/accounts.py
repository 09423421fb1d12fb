"""From prompts to rows: what came in, went on, and was dropped why; and what each step cost."""

from __future__ import annotations

from collections.abc import Mapping

from fusion.report.number_text import count, duration, percent
from fusion.report.record import HELD_OUT, RunRecord
from fusion.tree import TreeArtifact

NO_ROWS = frozenset({"evaluation", "comparison"})
"""Kinds whose rows are summaries, not things that could be lost."""

MANY_REWARDS = 8
"""Above so many steps, rewards that lost no row are folded."""

MOST_STEPS = 24
"""Above so many steps, those that took the least time and no tokens are folded."""

UNITS = {"prompts": "prompts", "responses": "samples", "rewards": "samples", "sft": "prompts", "pairs": "prompts"}


def funnel(record: RunRecord) -> dict[str, list[dict[str, object]]] | None:
    """One entry a step that handles rows, `rows in = rows out + dropped + failed`: steps on the way to the model
    (`made`), rewards that lost nothing where there are many of them (`judged`), and steps of the evaluation
    (`measured`). None: no steps."""
    steps = [step for step in record.steps if step["kind"] not in NO_ROWS]
    if not steps:
        return None
    found: dict[str, list[dict[str, object]]] = {"made": [], "judged": [], "measured": []}
    num_judged = sum(step["kind"] == "rewards" for step in steps)
    for step in steps:
        is_quiet = step["kind"] == "rewards" and not lost_rows(step) and num_judged > MANY_REWARDS
        part = "measured" if str(step["label"]).startswith(HELD_OUT) else "judged" if is_quiet else "made"
        found[part].append(_account(step))
    return found


def costs(record: RunRecord) -> dict[str, object] | None:
    """Seconds and tokens by step; None: the result has no steps that took time."""
    steps = [(step, _seconds(step), num_tokens(record, step)) for step in record.steps]
    longest = max((seconds for _, seconds, _ in steps), default=0.0)
    if longest <= 0:
        return None
    rows = [
        {
            "name": step_name(step),
            "status": str(step.get("status", "")),
            "seconds": duration(seconds),
            "bar": 100 * seconds / longest,
            "tokens": count(tokens) if tokens else "",
            "rate": f"{tokens / seconds:,.0f}" if tokens and seconds > 0 else "",
        }
        for step, seconds, tokens in steps
    ]
    total = sum(seconds for _, seconds, _ in steps)
    slow = sorted((seconds for _, seconds, _ in steps), reverse=True)[:MOST_STEPS][-1]
    shown = [row for row, (_, seconds, tokens) in zip(rows, steps, strict=True) if tokens or seconds >= slow]
    if len(rows) <= MOST_STEPS or len(shown) > MOST_STEPS:
        shown = rows
    rest = [row for row in rows if row not in shown]
    return {
        "rows": shown,
        "rest": rest,
        "total": duration(total),
        "tokens": count(sum(tokens for _, _, tokens in steps)),
    }


def step_name(step: Mapping[str, object]) -> str:
    return f"{step['kind']}/{step['label']}"


def num_tokens(record: RunRecord, step: Mapping[str, object]) -> int:
    """Tokens generated, scored or trained on by a step; 0: not counted."""
    totals = step.get("totals")
    if isinstance(totals, Mapping) and totals.get("num_tokens"):
        return int(totals["num_tokens"])
    checkpoint = record.checkpoints.get(str(step["label"])) if step["kind"] == "checkpoint" else None
    return 0 if checkpoint is None else trained_tokens(checkpoint)


def trained_tokens(checkpoint: TreeArtifact) -> int:
    """Tokens that a model was trained on; 0: not counted."""
    metrics = checkpoint.manifest.get("metrics")
    nested = metrics.get("totals", metrics) if isinstance(metrics, Mapping) else {}
    found = nested.get("num_tokens", nested.get("tokens", 0)) if isinstance(nested, Mapping) else 0
    return int(found) if isinstance(found, int | float) else 0


def lost_rows(step: Mapping[str, object]) -> dict[str, int]:
    """Rows that did not go on, by reason, most first; faults of rows and decisions together."""
    lost: dict[str, int] = {}
    for kind in ("dropped", "failed"):
        reasons = step.get(kind)
        if isinstance(reasons, Mapping):
            lost |= {str(reason): int(number) for reason, number in reasons.items()}
    return dict(sorted(lost.items(), key=lambda item: (-item[1], item[0])))


def _account(step: Mapping[str, object]) -> dict[str, object]:
    rows_in, rows_out = int(str(step["rows_in"])), int(str(step["rows_out"]))
    failed = step.get("failed")
    faults = set(failed) if isinstance(failed, Mapping) else set()
    return {
        "name": step_name(step),
        "unit": UNITS.get(str(step["kind"]), "rows"),
        "rows_in": count(rows_in),
        "rows_out": count(rows_out),
        "share": percent(rows_out / rows_in) if rows_in else "",
        "bar": 100 * rows_out / rows_in if rows_in else 0.0,
        "lost": [
            {"reason": reason.replace("_", " "), "rows": count(number), "is_fault": reason in faults}
            for reason, number in lost_rows(step).items()
        ],
    }


def _seconds(step: Mapping[str, object]) -> float:
    found = step.get("seconds", 0.0)
    return float(found) if isinstance(found, int | float) else 0.0
