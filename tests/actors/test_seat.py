"""The proof that a process and those it started have left."""

from __future__ import annotations

import subprocess
import sys
import time

from actors.seat import evict, named, remaining

PARENT = "import subprocess, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"


def test_a_child_that_outlives_its_parent_is_still_there() -> None:
    """An engine's own processes keep the GPU when only the actor dies."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert remaining(parent.pid, 0.1) == sorted([parent.pid, child])
    parent.kill()
    parent.wait()
    assert remaining(parent.pid, 0.1) == [child]
    subprocess.run(["kill", str(child)], check=True)
    assert remaining(parent.pid, 5) == []


def test_what_does_not_leave_by_itself_is_killed_with_what_it_started() -> None:
    """Seen: an actor that hung in its exit for 13 minutes after Ray had killed it and its node had gone."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, start_new_session=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    while named(child) == f"pid {child} (python)":  # the kernel gives it its new name a moment after its start is told
        time.sleep(0.01)
    assert named(child) == f"pid {child} (sleep)"
    assert evict(parent.pid, 2) == (sorted([parent.pid, child]), [])
    parent.wait()
    assert evict(parent.pid, 2) == ([], [])
