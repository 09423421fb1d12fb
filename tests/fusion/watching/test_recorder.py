"""What a run writes of itself: a real runner over toy steps, looked at from outside."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fusion.errors import StepFailed
from fusion.listeners import Listeners
from fusion.runner import Runner
from fusion.runtime import InProcess, Runtime
from fusion.schema import PROMPT
from fusion.step import Capacity, Step
from fusion.watching.recorder import recorded
from fusion.watching.state import RunState, read_state
from fusion.watching.verdict import QUIET_S, Verdict, verdict
from fusion.work import Work
from tests.fusion.test_runner import Silent, Words, recipe

ROOT = Path(__file__).resolve().parents[3]


def state_of(folder: Path) -> RunState:
    state = read_state(folder)
    assert state is not None
    return state


def seen(folder: Path, wanted: Callable[[RunState], bool]) -> RunState:
    """The first state that is as wanted."""
    deadline = time.monotonic() + 20
    while True:
        state = read_state(folder)
        if state is not None and wanted(state):
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.05)


def run(folder: Path, steps: Sequence[Step]) -> None:
    with recorded(folder, "toy", "fusion run toy") as recorder:
        Runner(str(folder / "store"), InProcess, Capacity(), Listeners(Silent(), recorder)).run(steps)


def test_every_step_of_a_run_that_ended_is_there_with_its_rows(tmp_path: Path) -> None:
    run(tmp_path, recipe("a", "bb"))
    state = state_of(tmp_path)
    assert (state.run, state.status, state.command) == ("toy", "done", "fusion run toy")
    assert (state.pid, verdict(state, time.time())) == (os.getpid(), Verdict.DONE)
    assert [step.name for step in state.steps] == ["prompts/words", "rewards/length", "checkpoint/sum"]
    assert {step.status for step in state.steps} == {"done"}
    assert state.steps[1].accounts.startswith("2 in = 2 out")


def test_a_second_run_says_that_all_was_there(tmp_path: Path) -> None:
    run(tmp_path, recipe("a"))
    run(tmp_path, recipe("a"))
    assert [(step.plan, step.status) for step in state_of(tmp_path).steps] == [("HIT", "done")] * 3


def test_a_run_can_be_watched_while_it_works(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow(works: Sequence[Work], runtime: Runtime) -> None:
        works[0].progress(3, 12)
        assert go_on.wait(20)
        works[0].rows_out.expect(set())

    step = Step(kind="prompts", label="slow", run=slow, config=Words(words=[]), produces=PROMPT)
    running = threading.Thread(target=run, args=(tmp_path, [step]))
    running.start()
    state = seen(tmp_path, lambda state: bool(state.steps) and state.steps[0].total > 0)
    go_on.set()
    running.join()
    assert (state.status, verdict(state, time.time())) == ("running", Verdict.RUNNING)
    assert (state.steps[0].status, state.steps[0].done, state.steps[0].total) == ("running", 3, 12)


def test_the_step_that_failed_is_named_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(StepFailed):
        run(tmp_path, recipe("a", "bb", fail_at="bb"))
    state = state_of(tmp_path)
    assert (state.status, state.message) == ("failed", "rewards/length: cannot measure bb")
    assert [step.status for step in state.steps] == ["done", "failed", "waiting"]


def test_ctrl_c_is_no_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), recorded(tmp_path, "toy", ""):
        raise KeyboardInterrupt
    assert state_of(tmp_path).status == "interrupted"


def test_a_run_that_was_killed_is_known_by_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom fusion.watching.recorder import recorded\n"
        "with recorded(Path(sys.argv[1]), 'toy', ''):\n    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    try:
        state = seen(tmp_path, lambda state: state.pid == process.pid)
        late = state.sign + QUIET_S + 1
        assert verdict(state, late) is Verdict.SILENT  # it lives, whatever its file says
    finally:
        process.kill()
        process.wait()
    assert verdict(state, state.sign + 1) is Verdict.RUNNING  # nobody looks at processes while signs are fresh
    assert verdict(state, late) is Verdict.KILLED
    state.host = "another-machine"
    assert verdict(state, late) is Verdict.SILENT


def test_two_runs_of_one_name_do_not_write_over_each_other(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom fusion.watching.recorder import recorded\n"
        "with recorded(Path(sys.argv[1]), 'toy', 'the first'):\n    sys.stdin.read()"
    )
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE)
    try:
        seen(tmp_path, lambda state: state.pid == first.pid)
        with recorded(tmp_path, "toy", "the second"):
            time.sleep(1.5)
        assert state_of(tmp_path).command == "the first"
    finally:
        first.communicate(b"")
    assert state_of(tmp_path).status == "done"
    with recorded(tmp_path, "toy", "the second"):
        pass
    assert state_of(tmp_path).command == "the second"


def test_a_folder_that_cannot_be_written_does_not_end_a_run(tmp_path: Path) -> None:
    with recorded(tmp_path / "nowhere", "toy", "") as recorder:
        Runner(str(tmp_path / "store"), InProcess, Capacity(), recorder).run(recipe("a"))
    assert not (tmp_path / "nowhere").exists()
