"""What a run says of itself while it runs: runs/<name>/state.json, small, written whole, read by anybody.

Times are seconds since 1970 by the clock of the run's machine. It is for show: no run reads it to decide anything but
whether another shows itself there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "state.json"


@dataclass
class StepState:
    """One step, as far as it is."""

    name: str
    """kind/label"""
    plan: str
    """What was planned for it: HIT, `RESUME 61%`, REUSE, NEW."""
    status: str = "waiting"
    """waiting, running, done, failed; stopped: it ran when the run ended without it."""
    began: float | None = None
    ended: float | None = None
    done: int = 0
    total: int = 0
    """Rows, or steps of training; 0: not known."""
    moved: float | None = None
    """When `done` last grew."""
    rate: float | None = None
    """Of `done` a second, since it first grew; None: not known yet."""
    accounts: str = ""
    """`1,200 in = 1,190 out + 10 truncated   31.2 s` once it is done."""


@dataclass
class RunState:
    """A run. `status`: running, done, failed, interrupted; whether one that says `running` lives: see `verdict`."""

    run: str
    status: str
    began: float
    sign: float
    """When this was written: the last sign of life."""
    host: str = ""
    pid: int = 0
    start: str | None = None
    """Start time of the process (`fusion.process.start_of`)."""
    ended: float | None = None
    command: str = ""
    """What was typed."""
    message: str = ""
    """Why it failed."""
    steps: list[StepState] = field(default_factory=list)
    notices: list[tuple[float, str]] = field(default_factory=list)


def encoded(state: RunState) -> str:
    """The content of the file."""
    return json.dumps(asdict(state), ensure_ascii=False, indent=1) + "\n"


def write_state(folder: Path, content: str) -> None:
    """Replace the file; whoever reads sees the old one or the new one. Not durable: it is only for show."""
    temporary = folder / f".{FILE}.{os.getpid()}.tmp"
    temporary.write_text(content, encoding="utf-8")
    os.replace(temporary, folder / FILE)


def read_state(folder: Path) -> RunState | None:
    """What the run in `folder` said last; without that, what its result says; None if it has neither."""
    told = _json(folder / FILE)
    if told is not None:
        try:
            return _state(told)
        except (KeyError, TypeError):  # of another version of this program
            pass
    result = _json(folder / "result.json")
    return None if result is None else _of_result(folder, result)


def _json(path: Path) -> dict[str, object] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _state(told: Mapping[str, object]) -> RunState:
    steps = [StepState(**step) for step in told["steps"]]  # type: ignore[attr-defined]
    notices = [(float(at), str(text)) for at, text in told["notices"]]  # type: ignore[attr-defined]
    return RunState(**(dict(told) | {"steps": steps, "notices": notices}))  # type: ignore[arg-type]


def _of_result(folder: Path, result: Mapping[str, object]) -> RunState:
    ended = (folder / "result.json").stat().st_mtime
    entries: list[dict[str, object]] = result.get("steps", [])  # type: ignore[assignment]
    steps = [
        StepState(f"{entry['kind']}/{entry['label']}", str(entry["status"]), "done", accounts=_accounts(entry))
        for entry in entries
    ]
    name = str(result.get("experiment", folder.name))
    return RunState(name, "done", began=ended, sign=ended, ended=ended, steps=steps)


def _accounts(entry: Mapping[str, object]) -> str:
    return f"{entry['rows_in']:,} in, {entry['rows_out']:,} out   {entry['seconds']:.1f} s"
