"""A head that falls silent is noticed after its grace, one that comes back in time is forgiven."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

from actors.head import HeadWatch


def listening(port: int = 0) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen()
    return made


def test_a_head_that_answers_is_there_and_one_that_refuses_is_gone_after_its_grace() -> None:
    head = listening()
    port = head.getsockname()[1]
    watch = HeadWatch(f"127.0.0.1:{port}", grace_s=0.3)
    assert not watch.is_gone()
    head.close()
    assert not watch.is_gone()
    time.sleep(0.4)
    assert watch.is_gone()


def test_a_head_that_comes_back_in_time_is_forgiven() -> None:
    head = listening()
    port = head.getsockname()[1]
    watch = HeadWatch(f"127.0.0.1:{port}", grace_s=0.3)
    head.close()
    assert not watch.is_gone()
    head = listening(port)
    time.sleep(0.4)
    assert not watch.is_gone()
    head.close()
    assert not watch.is_gone()


def test_the_end_says_what_is_kept_and_what_to_type() -> None:
    code = "from actors.head import end_without_head; end_without_head('10.0.0.1:6379')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "10.0.0.1:6379 is gone" in done.stderr
    assert "the same command goes on" in done.stderr
