"""A job is followed without a gap and without a repetition, wherever its connection breaks, to its exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from enum import Enum

import aiohttp
import pytest

from fusion.submission import follow as module
from fusion.submission.follow import End, Ended, follow

LOG = "".join(f"line {number}\n" for number in range(4))
LATE = "written after the tail had ended\n"
BREAKS = [OSError("reset"), RuntimeError("closed unexpectedly"), aiohttp.ServerDisconnectedError()]


class State(Enum):
    """As Ray's."""

    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    def is_terminal(self) -> bool:
        return self is not State.RUNNING


@dataclass
class Info:
    """What is told of a job."""

    status: State
    message: str | None = None
    driver_exit_code: int | None = None


@dataclass
class Client:
    """A job server whose answers break. Its job is over when a tail has come to its end."""

    info: Info
    cuts: list[int] = field(default_factory=list)
    """Characters after which one connection after another breaks; the one after them does not."""
    error: Exception = BREAKS[0]
    piece: int = 3
    info_failures: int = 0
    log_failures: int = 0
    is_over: bool = False

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        cut = self.cuts.pop(0) if self.cuts else None
        text = LOG[:cut]
        for start in range(0, len(text), self.piece):
            yield text[start : start + self.piece]
        if cut is not None:
            raise self.error
        self.is_over = True

    def get_job_info(self, job_id: str) -> Info:
        if self.info_failures:
            self.info_failures -= 1
            raise self.error
        return self.info if self.is_over else Info(State.RUNNING)

    def get_job_logs(self, job_id: str) -> str:
        if self.log_failures:
            self.log_failures -= 1
            raise self.error
        return LOG + LATE

    def submit_job(self, **job: object) -> str:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)


def followed(client: Client) -> tuple[str, Ended]:
    shown: list[str] = []
    ended = follow(client, "job-1", shown.append)
    return "".join(shown), ended


@pytest.mark.parametrize("error", BREAKS, ids=lambda error: type(error).__name__)
def test_a_connection_that_breaks_anywhere_neither_loses_nor_repeats_a_character(error: Exception) -> None:
    for cut in range(len(LOG) + 1):
        for piece in (1, 3, len(LOG)):
            shown, _ = followed(Client(Info(State.SUCCEEDED), [cut, cut // 2, cut], error, piece))
            assert shown == LOG + LATE, (cut, piece)


def test_questions_that_fail_after_the_log_are_asked_again() -> None:
    shown, ended = followed(Client(Info(State.SUCCEEDED), info_failures=2, log_failures=2))
    assert (shown, ended.code) == (LOG + LATE, 0)


def test_a_long_job_may_lose_many_connections_as_long_as_something_comes() -> None:
    shown, _ = followed(Client(Info(State.SUCCEEDED), sorted([*range(1, len(LOG))] * 2), piece=1))
    assert shown == LOG + LATE


def test_a_head_that_stays_away_is_given_up() -> None:
    with pytest.raises(OSError, match="the head cannot be reached any more .reset.; the job may still run"):
        followed(Client(Info(State.SUCCEEDED), [0] * 100))


@pytest.mark.parametrize(
    ("info", "end", "code"),
    [
        (Info(State.SUCCEEDED, driver_exit_code=0), End.SUCCEEDED, 0),
        (Info(State.STOPPED), End.STOPPED, 130),  # ray job stop
        (Info(State.STOPPED, driver_exit_code=-15), End.STOPPED, 130),
        (Info(State.FAILED, "exited", 2), End.FAILED, 2),
        (Info(State.FAILED, "the driver never ran"), End.FAILED, 1),
    ],
)
def test_how_a_job_ended_is_its_exit_code(info: Info, end: End, code: int) -> None:
    _, ended = followed(Client(info))
    assert ended == Ended(end, code, info.message or "")
