"""Following a job: its log as it grows, through lost connections, to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

RETRY_S = 2.0
LOST_LIMIT = 30
"""Times in a row that a lost connection is tried again: a minute."""


class Status(Protocol):
    """Ray's `JobStatus`: an enumeration of PENDING, RUNNING, STOPPED, SUCCEEDED, FAILED."""

    @property
    def value(self) -> str: ...
    def is_terminal(self) -> bool: ...


class Info(Protocol):
    """Ray's `JobDetails`, as far as it is used."""

    status: Status
    message: str | None
    driver_exit_code: int | None


class JobClient(Protocol):
    """Ray's `JobSubmissionClient`, as far as it is used."""

    def submit_job(
        self, *, entrypoint: str, submission_id: str, runtime_env: dict[str, object], metadata: dict[str, str]
    ) -> str: ...
    def get_job_info(self, job_id: str) -> Info: ...
    def get_job_logs(self, job_id: str) -> str: ...
    def tail_job_logs(self, job_id: str) -> AsyncIterator[str]: ...


class End(StrEnum):
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended, as an exit code: its driver's own, 130 if it was stopped, 1 if its driver never ran."""

    end: End
    code: int
    message: str


def follow(client: JobClient, job: str, sink: Callable[[str], None]) -> Ended:
    """Hand the whole log to `sink` as it comes; returns when the job has ended.

    Raises:
        KeyboardInterrupt: passed on; the job goes on without us.
        OSError: the head could not be reached for a minute.
    """
    return asyncio.run(_Follower(client, job, sink).run())


@dataclass
class _Follower:
    client: JobClient
    job: str
    sink: Callable[[str], None]
    told: int = 0
    """Characters of the log that were handed on."""
    lost: int = 0
    """Connections that were lost one after another, and nothing came."""

    async def run(self) -> Ended:
        from aiohttp import ClientError  # what Ray's client speaks with

        while True:
            try:
                await self._tail()
                info = await asyncio.to_thread(self.client.get_job_info, self.job)
                if info.status.is_terminal():
                    self._tell(
                        await asyncio.to_thread(self.client.get_job_logs, self.job), 0
                    )  # what came after the tail
                    return _ended(info)
                self.lost = 0
            except (OSError, RuntimeError, ClientError) as error:  # Ray's client raises all for a connection that broke
                self.lost += 1
                if self.lost > LOST_LIMIT:
                    raise OSError(f"the head cannot be reached any more ({error}); the job may still run") from error
            await asyncio.sleep(RETRY_S)

    async def _tail(self) -> None:
        """Hand on what is new; a connection begins at the log's first character."""
        received = 0
        async for text in self.client.tail_job_logs(self.job):
            self._tell(text, received)
            received += len(text)

    def _tell(self, text: str, start: int) -> None:
        """Hand on what is new in `text`, which begins so many characters into the log."""
        fresh = text[max(0, self.told - start) :]
        if fresh:
            self.sink(fresh)
            self.told, self.lost = start + len(text), 0


def _ended(info: Info) -> Ended:
    end = End(info.status.value)
    code = {End.SUCCEEDED: 0, End.STOPPED: 130}.get(end, info.driver_exit_code or 1)
    return Ended(end, code, info.message or "")
