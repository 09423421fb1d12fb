"""A run that writes down how far it is, for others to look at."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fusion.artifact import Artifact
from fusion.console import accounts_line
from fusion.plan import Planned, Status
from fusion.process import start_of
from fusion.step import Step
from fusion.tree import TreeArtifact
from fusion.watching.pace import Pace
from fusion.watching.state import RunState, StepState, encoded, read_state, write_state
from fusion.watching.verdict import Verdict, verdict

WRITE_S = 1.0
HEARTBEAT_S = 5.0
NOTICES_KEPT = 20

log = logging.getLogger(__name__)


class Recorder:
    """A `fusion.runner.Listener` that keeps state.json of a run folder; a thread of its own writes, so that no step
    ever waits for a slow disk.

    While another run of the same name lives, its file is left alone.
    """

    def __init__(self, folder: Path, run: str, command: str) -> None:
        now = time.time()
        self._folder = folder
        self._state = RunState(
            run, "running", now, now, socket.gethostname(), os.getpid(), start_of(os.getpid()), command=command
        )
        self._steps: dict[str, StepState] = {}
        self._paces: dict[str, Pace] = {}
        self._lock = threading.Lock()
        self._changed = True
        self._end = threading.Event()
        self._writer = threading.Thread(target=self._write_on, name="recorder", daemon=True)
        self._writer.start()

    # -- what a listener is told ---------------------------------------------------------------------------------

    def planned(self, steps: Sequence[Planned]) -> None:
        with self._telling():
            self._steps = {one.step.fingerprint: _step_state(one) for one in steps}
            self._state.steps = list(self._steps.values())

    def started(self, step: Step) -> None:
        with self._telling() as now:
            self._steps[step.fingerprint].status = "running"
            self._steps[step.fingerprint].began = now
            self._paces[step.fingerprint] = Pace()

    def progress(self, step: Step, done: int, total: int) -> None:
        with self._telling() as now:
            state, pace = self._steps[step.fingerprint], self._paces[step.fingerprint]
            pace.note(now, done)
            state.done, state.total, state.moved, state.rate = done, total, pace.moved, pace.rate

    def sealed(self, step: Step, artifact: Artifact | TreeArtifact) -> None:
        with self._telling() as now:
            state = self._steps[step.fingerprint]
            state.status, state.ended, state.accounts = "done", now, accounts_line(artifact)

    def notice(self, text: str) -> None:
        with self._telling() as now:
            self._state.notices = [*self._state.notices, (now, text)][-NOTICES_KEPT:]

    # -- the end -------------------------------------------------------------------------------------------------

    def close(self, status: str, message: str = "") -> None:
        """The run is over. `status`: done, failed or interrupted; `message`: why."""
        with self._telling() as now:
            self._state.status, self._state.ended, self._state.message = status, now, message
            for step in self._state.steps:
                if step.status == "running":
                    step.status = "failed" if message.startswith(f"{step.name}: ") else "stopped"
                    step.ended = now
        self._end.set()
        self._writer.join()

    # -- private -------------------------------------------------------------------------------------------------

    @contextmanager
    def _telling(self) -> Iterator[float]:
        with self._lock:
            yield time.time()
            self._changed = True

    def _write_on(self) -> None:
        while not self._end.wait(WRITE_S):
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            now = time.time()
            if not self._changed and now - self._state.sign < HEARTBEAT_S:
                return
            self._state.sign, self._changed = now, False
            content = encoded(self._state)
        try:
            if not self._is_anothers(now):
                write_state(self._folder, content)
        except OSError as error:  # a full disk ends a run by the data it cannot write, not by its looks
            log.warning("%s: %s", self._folder, error)

    def _is_anothers(self, now: float) -> bool:
        there = read_state(self._folder)
        own = (self._state.host, self._state.pid, self._state.start)
        if there is None or (there.host, there.pid, there.start) == own:
            return False
        return verdict(there, now) in (Verdict.RUNNING, Verdict.SILENT)


@contextmanager
def recorded(folder: Path, run: str, command: str) -> Iterator[Recorder]:
    """A recorder for the block; how the block ends is how the run ended."""
    recorder = Recorder(folder, run, command)
    try:
        yield recorder
    except KeyboardInterrupt:
        recorder.close("interrupted")
        raise
    except BaseException as error:
        recorder.close("failed", str(error) or type(error).__name__)
        raise
    recorder.close("done")


def _step_state(one: Planned) -> StepState:
    if one.status is Status.HIT and one.sealed is not None:
        return StepState(one.step.name, one.word, "done", accounts=accounts_line(one.sealed))
    return StepState(one.step.name, one.word)
