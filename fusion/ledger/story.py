"""Everything a run knows about one prompt, as plain values: what `fusion explain` prints and `--json` writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

import pyarrow as pa
import pyarrow.compute as pc

from fusion.artifact import Artifact
from fusion.errors import ArtifactError
from fusion.ledger.asked import asked
from fusion.ledger.keys import Found
from fusion.ledger.reasons import meaning
from fusion.ledger.standing import Standing, described, rivals, standings
from fusion.ledger.tables import RunTables
from fusion.selecting import Selecting

Value = dict[str, object]


def story(found: Found) -> Value:
    """Prompt, who was asked and how, every answer with its scores and its standing, and what became of it.

    Keys: run, prompt, sources, rule, candidates, rivals, sft, pairs, not_in. Of a prompt that was not let in: run,
    drop.
    """
    tables = found.tables
    run = str(tables.run.result["experiment"])
    if not found.prompt_id:
        drop = dict(found.drop or {})
        return {"run": run, "drop": drop | {"meaning": meaning(str(drop.get("reason", "")))}}
    step, prompt = _prompt(tables, found.prompt_id)
    candidates = _candidates(tables, found.prompt_id, step)
    names = {str(one["answered_by"]): str(one["source"]) for one in candidates}
    sources = {label: asked(tables, label, name) for label, name in names.items()}
    told: Value = {"run": run, "prompt": prompt, "sources": sources, "candidates": candidates}
    selecting = _selecting(tables) if step == "train" else None
    if selecting is not None:
        domain = str(prompt["domain"])
        ranks = standings(selecting, found.prompt_id, domain)
        told["candidates"] = _in_order(candidates, ranks)
        told["rule"] = described(selecting.rule_of(domain))
        told["rivals"] = [asdict(rival) for rival in rivals(selecting, found.prompt_id, domain)]
    return told | _fate(tables, found.prompt_id)


def _selecting(tables: RunTables) -> Selecting | None:
    """None: the rule is one of another version; what it chose is told all the same."""
    try:
        return Selecting.of(tables.artifacts)
    except ArtifactError:
        return None


def _prompt(tables: RunTables, prompt_id: str) -> tuple[str, Value]:
    """(label of the step that has it, its row)"""
    for name in tables.tables:
        if name.startswith("prompts/"):
            rows = _of(tables.read(name), "prompt_id", prompt_id)
            if rows:
                return name.removeprefix("prompts/"), rows[0]
    raise ArtifactError(f"prompt {prompt_id} is in no table of prompts")


def _candidates(tables: RunTables, prompt_id: str, step: str) -> list[Value]:
    """Responses to the prompt with all that was said of each; `scores` by reward: outcome, value, detail."""
    scores: dict[tuple[str, int], Value] = {}
    found: list[Value] = []
    for name in tables.tables:
        kind, label = name.split("/", 1)
        if kind == "rewards":
            owner, reward = tables.owner(label)
            for row in _of(tables.read(name), "prompt_id", prompt_id):
                said = {key: row[key] for key in ("outcome", "value", "detail")}
                scores.setdefault((owner, int(str(row["sample_index"]))), {})[reward] = said
    for name in tables.tables:
        kind, label = name.split("/", 1)
        if kind == "responses":
            for row in _of(tables.read(name), "prompt_id", prompt_id):
                shown = {"answered_by": label, **{key: value for key, value in row.items() if key != "prompt_id"}}
                found.append(shown | {"scores": scores.get((label, int(str(row["sample_index"]))), {})})
    return found


def _in_order(candidates: list[Value], ranks: Mapping[tuple[str, int], Standing]) -> list[Value]:
    """Candidates as the rule ranks them; answers that it did not see last."""
    place = {unit: number for number, unit in enumerate(ranks)}
    told = []
    for one in candidates:
        unit = (str(one["source"]), int(str(one["sample_index"])))
        is_ranked = unit in ranks and one["answered_by"] == one["source"]
        told.append(one | ({"standing": asdict(ranks[unit])} if is_ranked else {}))
    return sorted(told, key=lambda one: place.get((str(one["source"]), int(str(one["sample_index"]))), len(place)))


def _fate(tables: RunTables, prompt_id: str) -> Value:
    found: Value = {"sft": [], "pairs": [], "not_in": []}
    for name, artifact in tables.tables.items():
        kind, label = name.split("/", 1)
        if kind not in ("sft", "pairs"):
            continue
        for row in _of(tables.read(name), "prompt_id", prompt_id):
            kept = {key: value for key, value in row.items() if key not in ("messages", "prompt_id", "domain")}
            found[kind].append({"step": label, **kept})  # type: ignore[attr-defined]
        found["not_in"] += _drops(artifact, kind, prompt_id)  # type: ignore[operator]
    return found


def _drops(artifact: Artifact, kind: str, prompt_id: str) -> list[Value]:
    rows = _of(artifact.drops(), "key", prompt_id)
    return [{"table": kind, "reason": row["reason"], "meaning": meaning(str(row["reason"]))} for row in rows]


def _of(table: pa.Table, column: str, value: str) -> list[Value]:
    return list(table.filter(pc.equal(table[column], value)).to_pylist())
