"""What is said of a run, and what to type: states as runs leave them, at moments of our choosing."""

from __future__ import annotations

import os
import socket

import pytest

from fusion.process import start_of
from fusion.watching.state import RunState, StepState
from fusion.watching.verdict import Verdict
from fusion.watching.view import span, view_of


def running(**changes: object) -> RunState:
    """A run of this process that began at 1000 and gave its last sign at 1100."""
    own = {"host": socket.gethostname(), "pid": os.getpid(), "start": start_of(os.getpid())}
    told = {"run": "toy", "status": "running", "began": 1000.0, "sign": 1100.0, "command": "fusion run x=1", **own}
    return RunState(**(told | changes))  # type: ignore[arg-type]


def step(**changes: object) -> StepState:
    return StepState(**({"name": "responses/a", "plan": "NEW"} | changes))  # type: ignore[arg-type]


def test_a_running_step_shows_count_pace_and_forecast() -> None:
    state = running(
        steps=[step(status="running", began=1000.0, done=120, total=480, moved=1090.0, rate=3.0), step(name="sft/b")]
    )
    view = view_of(state, 1100.0)
    assert view.headline.startswith("running for 2 min, 0 of 2 steps done")
    first, second = view.rows
    assert (first.status, first.share, first.count) == ("running", 0.25, "120/480")
    assert first.detail == "3/s, 2 min left, for 2 min"  # 360 rows at 3 a second, less the 10 s that passed
    assert (second.status, second.share, second.detail) == ("waiting", None, "")
    assert view.advice == ""


def test_a_step_that_gets_nowhere_is_told() -> None:
    state = running(steps=[step(status="running", began=1000.0, done=5, total=10, moved=1010.0)])
    assert view_of(state, 1100.0).rows[0].detail == "for 2 min, nothing new for 90 s"


@pytest.mark.parametrize(
    ("changes", "told", "words"),
    [
        ({"status": "failed", "ended": 1100.0, "message": "sft/x: boom"}, Verdict.FAILED, ["boom", "log.txt", "x=1"]),
        ({"status": "interrupted", "ended": 1100.0}, Verdict.INTERRUPTED, ["type: fusion run x=1"]),
        ({"start": "0"}, Verdict.KILLED, ["type: fusion run x=1"]),
        ({"start": "0", "command": ""}, Verdict.KILLED, ["type the same command again"]),
        ({"host": "gpu-7", "pid": 12}, Verdict.SILENT, ["ssh gpu-7 ps 12"]),
        ({"status": "done", "ended": 1100.0}, Verdict.DONE, []),
    ],
)
def test_what_to_type_is_said(changes: dict[str, object], told: Verdict, words: list[str]) -> None:
    view = view_of(running(**changes), 1200.0)
    assert view.verdict is told
    assert all(word in view.advice for word in words)
    assert bool(view.advice) == bool(words)


def test_a_killed_run_is_dated_and_has_no_running_step() -> None:
    view = view_of(running(start="0", steps=[step(status="running", began=1000.0, done=1, total=4, rate=1.0)]), 9000.0)
    assert view.headline.startswith("killed: no sign since 19")
    assert (view.rows[0].status, view.rows[0].detail) == ("stopped", "")


def test_notices_are_dated() -> None:
    assert view_of(running(notices=[(1090.0, "waiting: another run")]), 1100.0).notices == (
        "10 s ago: waiting: another run",
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (99.4, "99 s"), (100, "2 min"), (5940, "99 min"), (7500, "2 h 5 min"), (3600 * 49, "2 d 1 h")],
)
def test_spans_are_short(seconds: float, words: str) -> None:
    assert span(seconds) == words
