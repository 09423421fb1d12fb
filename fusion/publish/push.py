"""`fusion push RUN --to FOLDER|hf://datasets/OWNER/NAME`: responses, rewards, SFT and DPO sets with their card."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fusion.artifact import write_json
from fusion.errors import ConfigError
from fusion.publish.card import card, licence_conflicts, settings
from fusion.publish.destination import MARK, Destination, destination
from fusion.publish.parcels import Parcel, write
from fusion.publish.secrets import masked
from fusion.report.build import build
from fusion.report.record import RunRecord
from fusion.run_folder import RunFolder


def push(arguments: Sequence[str]) -> int:
    """Publish a finished run."""
    parser = argparse.ArgumentParser(prog="fusion push", description="publish a run's data sets with a card")
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("run")
    parser.add_argument("--to", required=True, metavar="FOLDER|hf://datasets/OWNER/NAME")
    parser.add_argument(
        "--public", action="store_true", help="let everyone see it; a data set of the hub is else private"
    )
    parser.add_argument(
        "--accept-conflicts", action="store_true", help="publish though the card names conflicts of licences"
    )
    options = parser.parse_args(arguments)
    where = destination(options.to, is_public=options.public)
    where.check()
    run = RunFolder.open(options.runs, options.run)
    record = RunRecord.of(run.config_text, run.result, run.artifacts())
    _ask(licence_conflicts(record), is_public=options.public, is_accepted=options.accept_conflicts)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="fusion-push-") as ready:
        parcels = stage(record, Path(ready), where)
        found = where.put(Path(ready), f"fusion run {record.experiment}")
    for parcel in parcels:
        console.print(f"{parcel.name:10} {parcel.rows:>9,} rows")
    for line in licence_conflicts(record):
        console.print(Text(f"licence: {line}", "yellow"), soft_wrap=True)
    console.print("pushed to", Text(found), soft_wrap=True)
    return 0


def stage(record: RunRecord, folder: Path, where: Destination) -> list[Parcel]:
    """Everything that is published, below `folder`.

    Raises:
        ConfigError: the run made no data set.
    """
    parcels = write(record, folder)
    if not parcels:
        raise ConfigError(f"run {record.experiment} made no rows; there is nothing to publish")
    (folder / "README.md").write_text(card(record, parcels, where.name), encoding="utf-8")
    report = masked(build(replace(record, config=settings(record))))
    (folder / "report.html").write_text(str(report), encoding="utf-8")
    sets = {parcel.name: {"rows": parcel.rows, "masked_rows": parcel.masked} for parcel in parcels}
    steps = {f"{step['kind']}/{step['label']}": step["fingerprint"] for step in record.steps}
    mark = {
        "experiment": record.experiment,
        "sets": sets,
        "steps": steps,
        "versions": record.result.get("versions", {}),
    }
    write_json(str(folder / MARK), mark)
    return parcels


def _ask(conflicts: Sequence[str], *, is_public: bool, is_accepted: bool) -> None:
    """Publishing for everyone what somebody's terms forbid is not done by accident.

    Raises:
        ConfigError: there are conflicts, and nobody accepted them.
    """
    grave = [line for line in conflicts if line.startswith(("Conflict", "No licence"))]
    if is_public and grave and not is_accepted:
        listed = "\n  ".join(grave)
        raise ConfigError(
            f"the licences of this data are in conflict or not stated:\n  {listed}\n"
            "state them (licence: in the yaml of a source or of prompts, +replay.licences={SOURCE: ...}), leave a "
            "source out, push without --public, or type --accept-conflicts"
        )
