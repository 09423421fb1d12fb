"""What the terminal shows of a long step while it works."""

from __future__ import annotations

import io
import re
import time

from rich.console import Console

from fusion.console import Terminal
from fusion.plan import Planned, Status
from fusion.schema import PROMPT
from fusion.step import Step


def make_step() -> Step:
    return Step(kind="responses", label="pico_a", run=print, config={}, produces=PROMPT)  # type: ignore[arg-type]


def shown(file: io.StringIO, pattern: str) -> re.Match[str] | None:
    """What a terminal has been sent so far, without its colours and movements; waits for it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := re.search(pattern, re.sub(r"\x1b\[[\d;?]*\w", "", file.getvalue())):
            return found
        time.sleep(0.02)
    return None


def test_a_long_step_has_a_bar_with_what_is_done_of_what_and_a_rate() -> None:
    file, step = io.StringIO(), make_step()
    terminal = Terminal(Console(file=file, force_terminal=True, width=120, color_system="standard"))
    terminal.planned([Planned(step, Status.NEW, None, "never made before")])
    try:
        terminal.started(step)
        terminal.progress(step, 30, 1200)
        found = shown(file, r"responses/pico_a .*?30/1,200 +([\d.]+)/s")
        assert found is not None
        assert float(found[1]) > 0
        terminal.progress(step, 31, 0)
        assert shown(file, r"31/\? ")
    finally:
        terminal.close()


def test_a_run_that_has_nothing_to_do_shows_no_bar() -> None:
    file = io.StringIO()
    terminal = Terminal(Console(file=file, force_terminal=True, width=120))
    terminal.planned([Planned(make_step(), Status.HIT, None, "")])
    terminal.close()
    assert "responses/pico_a" in file.getvalue()
    assert "/s" not in file.getvalue().replace("responses/pico_a", "")
