"""Runs `fusion eval` over answers of real models that are stored in the public data, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.cli import main
from tests.shared_data import ROOT


def evaluated(folder: Path, *arguments: str) -> dict[str, object]:
    """result.json of `fusion eval ARGUMENTS`, with its store and run below `folder`."""
    places = [f"data={ROOT}", f"store.path={folder / 'store'}", f"runs={folder / 'runs'}", "cluster=in_process"]
    with pytest.raises(SystemExit) as end:
        main(["eval", *places, *arguments])
    assert end.value.code == 0, f"fusion eval {' '.join(arguments)} ended with {end.value.code}"
    return json.loads((folder / "runs" / "eval" / "result.json").read_text())


def scores(result: dict[str, object], benchmark: str) -> dict[str, dict[str, object]]:
    """Model -> entry of `benchmarks.scores`."""
    rows = result["benchmarks"]["scores"]  # type: ignore[index]
    return {row["model"]: row for row in rows if row["benchmark"] == benchmark}


def labelled(path: Path, column: str, **wanted: object) -> dict[str, float]:
    """Source -> share of rows whose `column` is true, in percent."""
    import gzip

    votes: dict[str, list[bool]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if all(row[name] == value for name, value in wanted.items()):
                votes.setdefault(row["source"], []).append(bool(row[column]))
    return {source: 100 * sum(found) / len(found) for source, found in votes.items()}
