"""The doctor on the hub: whoever answers is there; where nobody does, what is left is told within seconds."""

from __future__ import annotations

import socket
import time

import pytest

from fusion.doctor.finding import Grade
from fusion.doctor.hub import WAIT_S, reached
from tests.fusion.submission.test_head import server


@pytest.mark.parametrize("status", [200, 401, 404])
def test_whoever_answers_is_there(status: int) -> None:
    with server(status, b"[]") as url:
        assert reached(url, False, "/cache").grade is Grade.OK


def test_nobody_there_says_what_is_left_and_what_to_type() -> None:
    finding = reached("http://127.0.0.1:9", False, "/cache")
    assert finding.grade is Grade.WARN
    assert "only models on a disk or in /cache can be used" in finding.found
    assert "HF_ENDPOINT" in finding.remedy


def test_a_hub_that_is_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        finding = reached(f"http://127.0.0.1:{silent.getsockname()[1]}", False, "/cache")
    assert finding.grade is Grade.WARN
    assert time.monotonic() - started < WAIT_S + 5


def test_offline_is_not_asked() -> None:
    with server(200, b"[]") as url:
        finding = reached(url, True, "/cache")
    assert (finding.grade, "HF_HUB_OFFLINE is set" in finding.found) == (Grade.WARN, True)
