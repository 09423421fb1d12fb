"""Workers that do next to nothing, for real: they write parts, say who they are, and can be told to misbehave."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from fusion.artifact import PartFolder, Receipt, reasons_of
from fusion.errors import EngineError
from fusion.runtime import Session
from fusion.schema import Reason
from fusion.step import Placement
from fusion.table import Table

ROWS = Table("number", pa.schema([pa.field("number", pa.int64(), nullable=False)]), ("number",), ("number",))


@dataclass(frozen=True)
class Tasks:
    """Numbers to write. `log` gets the numbers that were asked about after a death; committed ones are not left."""

    numbers: tuple[int, ...]
    log: Path
    parts: str | None = None

    def __iter__(self) -> Iterator[object]:
        return iter(self.numbers)

    def remaining(self, task: object) -> object | None:
        with open(self.log, "a") as file:
            file.write(f"{task}\n")
        return None if self.parts and task in written(self.parts) else task


@dataclass(frozen=True)
class NumberWriter:
    """Writes each number as one part of `folder`; `mood` (number -> what to do with it first) makes trouble."""

    folder: str
    seconds: float = 0.0
    mood: tuple[tuple[int, str], ...] = ()
    open_fails: str = ""

    @contextmanager
    def open(self, placement: Placement) -> Iterator[Session]:
        note = Path(self.folder).parent / "notes"
        note.mkdir(parents=True, exist_ok=True)
        threads = os.environ.get("OMP_NUM_THREADS", "")
        (note / f"{os.getpid()}-{uuid.uuid4().hex[:6]}.pid").write_text(f"{os.getpid()} {threads}")
        if self.open_fails:
            raise ValueError(self.open_fails)
        yield NumberSession(self, note)
        (note / f"{os.getpid()}.closed").touch()


@dataclass(frozen=True)
class NumberSession:
    spec: NumberWriter
    note: Path

    def process(self, task: object) -> Mapping[str, Receipt]:
        assert isinstance(task, int)
        self._misbehave(dict(self.spec.mood).get(task, ""), task)
        time.sleep(self.spec.seconds)
        out = PartFolder(self.spec.folder, ROWS)
        with open(self.note / "worked.txt", "a") as file:
            file.write(f"{task}\n")
        if dict(self.spec.mood).get(task) == "lose":
            lost = [((task,), Reason.REQUEST_FAILED, "asked for")]
            return {self.spec.folder: Receipt(drops=out.write_drops(lost), reasons=reasons_of(lost))}
        parts = out.write(pa.table({"number": [task]}, schema=ROWS.schema))
        return {self.spec.folder: Receipt(parts=parts, num_tokens=10, num_requests=1, seconds=self.spec.seconds)}

    def _misbehave(self, how: str, task: int) -> None:
        once = self.note / f"{how}-{task}"
        if how in ("", "lose") or once.exists():
            return
        if how != "raise":
            once.touch()
        if how == "raise":
            raise ValueError(f"boom at {task}")
        if how == "engine":
            raise EngineError(f"engine broken at {task}")
        if how == "exit":
            os._exit(9)
        assert how == "stall", how
        threading.Event().wait()


def written(folder: str) -> set[int]:
    """The numbers committed to `folder`."""
    parts = Path(folder) / "parts"
    return {
        PartFolder(folder, ROWS).read(f"parts/{file.name}")["number"][0].as_py() for file in parts.glob("*.parquet")
    }


def worked(folder: str) -> list[int]:
    """The numbers in the order of their commits; one that was done twice stands there twice."""
    return [int(line) for line in (Path(folder).parent / "notes" / "worked.txt").read_text().split()]


def sessions(folder: str) -> list[tuple[int, str]]:
    """(pid, OMP_NUM_THREADS) of each session that was opened, oldest first."""
    notes = sorted((Path(folder).parent / "notes").glob("*.pid"), key=lambda note: note.stat().st_mtime_ns)
    return [(int(pid), threads) for pid, _, threads in (note.read_text().partition(" ") for note in notes)]


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
