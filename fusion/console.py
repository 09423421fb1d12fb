"""The terminal: one line a step, progress bars for long ones, nothing else. Everything else goes to log.txt."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from fusion.artifact import Artifact
from fusion.plan import Planned, Status
from fusion.step import Step
from fusion.tree import TreeArtifact

STYLE = {Status.HIT: "green", Status.RESUME: "yellow", Status.REUSE: "cyan", Status.NEW: "magenta"}


class Terminal:
    """A `fusion.runner.Listener` that shows a run."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("  {task.description:<34}"),
            BarColumn(24),
            TextColumn("{task.completed:>6,.0f}/{task.fields[of]:<7} {task.fields[rate]:>9}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, tuple[TaskID, float]] = {}
        self._lock = threading.Lock()

    def planned(self, steps: Sequence[Planned]) -> None:
        for one in steps:
            if one.status is Status.HIT:
                self._say(f"[green]HIT   [/] {one.step.name}")
        if any(one.status is not Status.HIT for one in steps):
            self._progress.start()

    def started(self, step: Step) -> None:
        with self._lock:
            task = self._progress.add_task(step.name, total=None, of="", rate="")
            self._tasks[step.fingerprint] = (task, time.monotonic())

    def progress(self, step: Step, done: int, total: int) -> None:
        with self._lock:
            task, since = self._tasks[step.fingerprint]
            rate = done / max(time.monotonic() - since, 1e-9)
            self._progress.update(
                task, completed=done, total=total or None, of=f"{total:,}" if total else "?", rate=f"{rate:.1f}/s"
            )

    def sealed(self, step: Step, artifact: Artifact | TreeArtifact) -> None:
        with self._lock:
            if step.fingerprint in self._tasks:
                self._progress.remove_task(self._tasks.pop(step.fingerprint)[0])
        self._say(f"[bold]done  [/] {step.name:<34} {accounts_line(artifact)}")

    def notice(self, text: str) -> None:
        self._say(f"[yellow]note  [/] {text}")

    def close(self) -> None:
        self._progress.stop()

    def _say(self, line: str) -> None:
        self.console.print(line, soft_wrap=True, highlight=False)


def accounts_line(artifact: Artifact | TreeArtifact) -> str:
    """`1,200 in = 1,190 out + 10 truncated   31.2 s`"""
    manifest = artifact.manifest
    accounts: dict[str, dict[str, int]] = manifest["accounts"]  # type: ignore[assignment]
    lost = accounts["dropped"] | accounts["failed"]
    terms = [f"{accounts['rows_out']:,} out", *(f"{number:,} {reason}" for reason, number in sorted(lost.items()))]
    return f"{accounts['rows_in']:,} in = {' + '.join(terms)}   {manifest['seconds']:.1f} s"


def plan_table(planned: Sequence[Planned]) -> Table:
    """Step, status with share, reason."""
    table = Table(box=None, pad_edge=False)
    for column in ("step", "status", "why"):
        table.add_column(column, overflow="fold")
    for one in planned:
        table.add_row(one.step.name, f"[{STYLE[one.status]}]{one.word}[/]", one.reason)
    return table


def log_to(path: Path) -> None:
    """Send this process's log, and what native libraries write to file descriptor 2, to a file.

    `sys.stderr` stays the terminal, also when a sweep's next run takes another file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if _descriptor(sys.stderr) == 2:
        sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with open(path, "ab") as file:
        os.dup2(file.fileno(), 2)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)


def _descriptor(stream: TextIO) -> int:
    """What it writes to; 2 if it does not say, as in tests that capture it."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return 2
