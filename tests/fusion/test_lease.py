"""One writer at a time; a dead one is replaced at once."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fusion import lease
from fusion.errors import ArtifactError
from tests.small_disk import small_disk


def never() -> bool:
    return False


def test_a_second_holder_waits_until_the_first_is_done(tmp_path: Path) -> None:
    notes: list[str] = []
    order: list[str] = []

    def second() -> None:
        with lease.hold(str(tmp_path), never, notes.append):
            order.append("second")

    with lease.hold(str(tmp_path), never, notes.append):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.7)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert len(notes) == 1
    assert "is writing" in notes[0]


def test_the_lease_of_a_killed_process_is_taken_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from fusion import lease\n"
        "with lease.hold(sys.argv[1], lambda: False, print): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    started = time.monotonic()
    with lease.hold(str(tmp_path), never, print):
        assert time.monotonic() - started < 2


def test_of_two_that_find_a_dead_holder_the_later_leaves_the_lease_of_the_earlier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later one had read the dead holder before the earlier one took over, and then removed the fresh lease."""
    dead = {"nonce": "dead", "host": socket.gethostname(), "pid": os.getpid(), "start": "long ago", "beat": 0.0}
    (tmp_path / "lease.json").write_text(json.dumps(dead))
    has_read, is_taken, is_dead = threading.Event(), threading.Event(), lease._is_dead
    got: list[str] = []

    def slowly(holder: dict[str, object]) -> bool:
        if threading.current_thread().name == "later" and holder["nonce"] == "dead":
            has_read.set()
            assert is_taken.wait(10)
        return is_dead(holder)

    def hold_later() -> None:
        with lease.hold(str(tmp_path), never, lambda note: None):
            got.append("later")

    monkeypatch.setattr(lease, "_is_dead", slowly)
    later = threading.Thread(target=hold_later, name="later")
    later.start()
    assert has_read.wait(10)
    with lease.hold(str(tmp_path), never, print):
        is_taken.set()
        time.sleep(0.2)
        assert got == []
    later.join(10)
    assert got == ["later"]


def test_a_lost_lease_stops_the_writer(tmp_path: Path) -> None:
    with lease.hold(str(tmp_path), never, print, heartbeat_s=0.05) as check:
        check()
        (tmp_path / "lease.json").write_text(json.dumps({"nonce": "other", "host": "h", "pid": 1, "beat": time.time()}))
        time.sleep(0.3)
        with pytest.raises(ArtifactError, match="another run took the lease"):
            check()


def test_waiting_ends_when_the_run_is_stopped(tmp_path: Path) -> None:
    with lease.hold(str(tmp_path), never, print):  # noqa: SIM117
        with pytest.raises(ArtifactError, match="stopped while waiting"):
            with lease.hold(str(tmp_path), lambda: True, print):
                pass


def test_a_full_disk_does_not_end_the_heartbeat(tmp_path: Path) -> None:
    with small_disk(tmp_path, 16 * 2**10) as disk, lease.hold(str(tmp_path), never, print, heartbeat_s=0.05) as check:
        filler = tmp_path / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 2**16)
        time.sleep(0.3)
        check()
        disk.grow(2**20)
        late = time.time()
        time.sleep(0.3)
        assert json.loads((tmp_path / "lease.json").read_text())["beat"] > late
        check()
