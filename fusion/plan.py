"""What a run would do, step by step, before anything is spent.

HIT      sealed, undamaged, made from what its inputs hold now
RESUME   part of it is committed
REUSE    rows of an earlier artifact with the same row-local recipe can be taken over
NEW      everything is to be done; the reason is the difference from the nearest earlier recipe
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import pyarrow.parquet as pq

from fusion import location
from fusion.artifact import Artifact, open_artifact
from fusion.fingerprint import differences
from fusion.step import Step, topological
from fusion.table import Table
from fusion.tree import TreeArtifact, open_tree

log = logging.getLogger(__name__)


class Status(StrEnum):
    HIT = "HIT"
    RESUME = "RESUME"
    REUSE = "REUSE"
    NEW = "NEW"


@dataclass(frozen=True)
class Planned:
    """One step and what would happen to it. `share` is the part that need not be done again, in [0, 1]."""

    step: Step
    status: Status
    share: float | None
    reason: str
    sealed: Artifact | TreeArtifact | None = None
    siblings: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """`RESUME 61%`"""
        return self.status.value if self.share is None else f"{self.status.value} {int(self.share * 100)}%"


def plan(store: str, targets: Sequence[Step]) -> list[Planned]:
    """Inputs before the steps that need them. Reads the store, changes nothing."""
    planned: dict[str, Planned] = {}
    for step in topological(targets):
        inputs = {name: planned[source.fingerprint] for name, source in step.inputs.items()}
        planned[step.fingerprint] = plan_step(store, step, {name: one.sealed for name, one in inputs.items()})
    return list(planned.values())


def done(planned: Sequence[Planned]) -> list[str]:
    """Fingerprints of the steps that need not be done."""
    return [one.step.fingerprint for one in planned if one.status is Status.HIT]


def plan_step(store: str, step: Step, inputs: Mapping[str, Artifact | TreeArtifact | None]) -> Planned:
    """Status of one step, given its inputs as far as they are sealed."""
    path = location.join(store, step.folder)
    sealed = open_step(path, step)
    reason = ""
    if sealed is not None:
        reason = sealed.damage() or _other_content(sealed, inputs) or ""
        if not reason:
            return Planned(step, Status.HIT, None, "", sealed)
    there, expected = committed(path, step)
    if there and not reason.startswith("input"):
        share = min(there / expected, 1.0) if expected else None
        return Planned(step, Status.RESUME, share, reason or "interrupted earlier", siblings=siblings_of(store, step))
    siblings = siblings_of(store, step)
    if siblings and not reason:
        rows = sum(committed(sibling, step)[0] for sibling in siblings)
        return Planned(step, Status.REUSE, None, f"up to {rows} rows of {_short(siblings)}", siblings=siblings)
    return Planned(step, Status.NEW, None, reason or _why_new(store, step), siblings=siblings)


def open_step(path: str, step: Step) -> Artifact | TreeArtifact | None:
    """The sealed artifact of a step, or None."""
    return open_artifact(path, step.produces) if isinstance(step.produces, Table) else open_tree(path)


def siblings_of(store: str, step: Step) -> tuple[str, ...]:
    """Folders of other artifacts whose rows a row-local step may take over."""
    if not step.row_local:
        return ()
    found = []
    for name in location.names(location.join(store, step.kind)):
        path = location.join(store, step.kind, name)
        if path != location.join(store, step.folder) and _recipe(path).get("row_fingerprint") == step.row_fingerprint:
            found.append(path)
    return tuple(found)


def _other_content(sealed: Artifact | TreeArtifact, inputs: Mapping[str, Artifact | TreeArtifact | None]) -> str | None:
    recorded: Mapping[str, str] = sealed.manifest["inputs"]  # type: ignore[assignment]
    for name, artifact in inputs.items():
        if artifact is not None and recorded.get(name) != artifact.digest:
            return f"input {name} holds other content than when this was made"
    return None


def committed(path: str, step: Step) -> tuple[int, int]:
    """Rows committed and rows expected (0: unknown) of an artifact that may be unsealed."""
    expected_at = location.join(path, "expected.json")
    expected = json.loads(location.get(expected_at))["rows_in"] if location.exists(expected_at) else 0
    if not isinstance(step.produces, Table):
        return len(location.names(location.join(path, "work"))), expected
    rows = 0
    for kind in ("parts", "drops"):
        for name in location.names(location.join(path, kind)):
            rows += _num_rows(location.join(path, kind, name))
    return rows, expected


def _num_rows(path: str) -> int:
    fs, inner = location.filesystem(path)
    try:
        with fs.open(inner, "rb") as file:
            return int(pq.read_metadata(file).num_rows)
    except Exception as error:  # a torn part holds no rows; the writer removes it
        log.info("%s is unreadable: %s", path, error)
        return 0


def _why_new(store: str, step: Step) -> str:
    """The shortest difference from an earlier recipe of the same kind and label."""
    shortest: list[str] | None = None
    for name in location.names(location.join(store, step.kind)):
        if name.rsplit("-", 1)[0] != step.label:
            continue
        recipe = _recipe(location.join(store, step.kind, name)).get("recipe")
        if recipe is not None:
            lines = differences(recipe, step.recipe)
            if lines and (shortest is None or len(lines) < len(shortest)):
                shortest = lines
    if shortest is None:
        return "never made before"
    shown = [line for line in shortest if not line.startswith("inputs.")]
    moved = [line.split(".")[1].split(" ")[0] for line in shortest if line.startswith("inputs.")]
    words = shown[:2] + ([f"and {len(shown) - 2} more settings"] if len(shown) > 2 else [])
    return "; ".join(words) or f"input {', '.join(moved)} changed"


def _recipe(path: str) -> dict[str, object]:
    where = location.join(path, "recipe.json")
    return dict(json.loads(location.get(where))) if location.exists(where) else {}


def _short(paths: Sequence[str]) -> str:
    names = [path.rsplit("/", 1)[-1] for path in paths]
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
