"""The host's side: one judge, a fresh guest for each program, deadlines, verdicts."""

from __future__ import annotations

import select
import socket
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self

from fusion.errors import EngineError
from fusion.sandbox.launch import JUDGE_RLIMITS, Boxed, Limits, check
from fusion.sandbox.wire import Broken, Ended, Wire
from fusion.schema import Outcome

START_S = 60.0
"""For a sandbox to start; 0.05 s where the machine is idle."""
SETTLE_S = 2.0
KILLED = 128 + 9
NEARLY = 0.75
"""The kernel counts what starting Python took, so a program that uses up its CPU time is killed a little earlier."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A program and its tests.

    Example: Case(program="def double(n): return 2 * n", tests=["assert double(2) == 4"])
    """

    program: str
    tests: list[str]
    """Python sources; each passes or fails as one."""
    entry_point: str | None = None
    """What `check(candidate)` is called with; None: the tests call the program by name."""
    setup: str = ""
    """Runs before the program and before the tests: imports, given code."""
    seed: int = 0
    """Of `random`, for the tests."""


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    detail: str | None


class Sandbox:
    """Judges one program at a time. Bubblewrap ends with the thread that started it: use it from one thread.

    Raises:
        EngineError: (on entering) no sandbox can be made here; it says what to type.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._judge: Boxed | None = None
        self._spare: Boxed | None = None

    def __enter__(self) -> Self:
        check()
        self._judge = self._started_judge()
        self._spare = self._guest()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (self._spare, self._judge):
            if process is not None:
                process.end()
        self._spare = self._judge = None

    def judge(self, case: Case) -> Verdict:
        """The verdict: pass, fail, timeout, or error (the tests are broken).

        Raises:
            EngineError: sandboxes do not start any more.
        """
        verdict = self._attempt(case) or self._attempt(case)  # a guest that waited may have been killed meanwhile
        if verdict is None:
            raise EngineError("sandboxes of programs do not start; free memory or processes, then run it again")
        return verdict

    def _attempt(self, case: Case) -> Verdict | None:
        guest, self._spare = self._spare or self._guest(), None
        try:
            self._hand_over(case, guest)
            self._spare = self._guest()  # it starts while this one works
            return self._verdict(guest)
        except (Ended, Broken):
            self._replace_judge()
            return None
        finally:
            guest.end()

    def _verdict(self, guest: Boxed) -> Verdict | None:
        message = self._next(START_S)
        if message is None or "outcome" in message:
            self._settle()
            return None
        if "done" in message:
            return None
        started = time.monotonic()
        message = self._next(self._limits.deadline_s)
        if message is None:
            guest.end()
            self._settle()
            return Verdict(Outcome.TIMEOUT, f"not done after {self._limits.deadline_s:g} s")
        if "done" in message:
            return Verdict(Outcome.ERROR, "the tests ended their own process")
        self._settle()
        detail = message["detail"] if isinstance(message["detail"], str) else None
        if message["outcome"] != "ended":
            return Verdict(Outcome(str(message["outcome"])), detail)
        status = guest.status(SETTLE_S)
        if status == KILLED and time.monotonic() - started >= NEARLY * self._limits.cpu_s:
            return Verdict(Outcome.TIMEOUT, f"used {self._limits.cpu_s:g} s of CPU time")
        return Verdict(Outcome.FAIL, f"{detail}, with exit status {status}")

    def _hand_over(self, case: Case, guest: Boxed) -> None:
        assert self._judge is not None
        try:
            socket.send_fds(self._judge.socket, [b"c"], [guest.socket.fileno()])
        except OSError as error:
            raise Ended from error
        self._wire().send(asdict(case))
        guest.socket.close()

    def _settle(self) -> None:
        """Wait until the judge is ready for the next case; one that is stuck in the tests is replaced."""
        try:
            while (message := self._next(SETTLE_S)) is not None:
                if "done" in message:
                    return
        except (Ended, Broken):
            pass
        self._replace_judge()

    def _next(self, limit_s: float) -> dict[str, object] | None:
        assert self._judge is not None
        poll = select.poll()
        poll.register(self._judge.socket, select.POLLIN)
        return self._wire().receive() if poll.poll(limit_s * 1000) else None

    def _wire(self) -> Wire:
        assert self._judge is not None
        return Wire(self._judge.socket.fileno())

    def _replace_judge(self) -> None:
        if self._judge is not None:
            self._judge.end()
        self._judge = self._started_judge()

    def _started_judge(self) -> Boxed:
        self._judge = Boxed("judge", JUDGE_RLIMITS, self._limits.files_mib)
        try:
            ready = self._next(START_S)
        except (Ended, Broken):
            ready = None
        if ready is None:
            self._judge.end()
            raise EngineError("the process that runs the tests does not start; free memory, then run it again")
        return self._judge

    def _guest(self) -> Boxed:
        return Boxed("guest", self._limits.rlimits(), self._limits.files_mib)
