"""What a disturbed run must have in common with an undisturbed one: everything that it made."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.end_to_end.pico import is_unique, result, rows

TABLES = ("prompts", "responses", "rewards", "sft", "pairs", "logprobs", "drops")
KEYS = {
    "prompts": ("prompt_id",),
    "responses": ("prompt_id", "source", "sample_index"),
    "sft": ("prompt_id",),
    "pairs": ("prompt_id", "pair_index"),
}
MADE = ("responses", "rewards")
"""Kinds whose committed rows cost money: not one of them may be made again."""
TIMES = ("seconds", "tokens_per_s")


def picture(workspace: Path, name: str) -> dict[str, Any]:
    """All rows, models, loss curves and scores of a finished run."""
    run = workspace / "runs" / name
    seen: dict[str, Any] = {table: rows(workspace, table, name) for table in TABLES}
    for role in ("sft", "final"):
        files = sorted(p for p in (run / "models" / role).resolve().rglob("*") if p.is_file())
        seen[f"model {role}"] = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
        manifest = json.loads(((run / "models" / role).resolve().parent / "manifest.json").read_text())
        seen[f"loss curve {role}"] = [
            {name: value for name, value in point.items() if name not in TIMES}
            for point in manifest["metrics"]["curve"]
        ]
    seen["evaluation"] = result(workspace, name)["evaluation"]
    return seen


def differences(seen: dict[str, Any], calm: dict[str, Any]) -> list[str]:
    """What is not as in the calm run, and keys that are doubled; empty: nothing is wrong."""
    wrong = [f"{what} differs from the calm run" for what in calm if seen[what] != calm[what]]
    return wrong + [f"{table} doubles a key" for table, key in KEYS.items() if not is_unique(seen[table], *key)]


def committed(store: Path) -> dict[str, bytes]:
    """Parts of responses and rewards, with their content."""
    return {
        str(path.relative_to(store)): path.read_bytes()
        for kind in MADE
        for path in store.glob(f"{kind}/*/parts/*.parquet")
    }


def touched(before: dict[str, bytes], store: Path) -> list[str]:
    """Committed parts that are gone or changed."""
    after = committed(store)
    return [f"{name} was touched" for name, content in before.items() if after.get(name) != content]


def asked(workspace: Path, name: str) -> dict[str, int]:
    """Answers that engines were asked for by the last driver, by the label of the step."""
    found: list[dict[str, Any]] = result(workspace, name)["steps"]  # type: ignore[assignment]
    made = [step for step in found if step["kind"] == "responses" and step["status"] != "HIT"]
    return {step["label"]: step["totals"].get("num_requests", 0) for step in made}


def asked_again(workspace: Path, name: str, before: dict[str, int]) -> list[str]:
    """Steps that asked engines for more answers than were still missing when their driver began.

    Args:
        before: rows that were committed then, by the folder of the artifact, relative to the store.
    """
    wrong = []
    found: list[dict[str, Any]] = result(workspace, name)["steps"]  # type: ignore[assignment]
    for step in found:
        requests = asked(workspace, name).get(step["label"], 0)
        if step["kind"] == "responses" and requests:
            there = before.get(f"responses/{step['label']}-{step['fingerprint']}", 0)
            if requests + there > step["rows_in"]:
                wrong.append(f"{step['label']}: {requests} answers asked for, {there} were there of {step['rows_in']}")
    return wrong
