"""A child process that answers questions under a deadline.

Verifiers run third-party code that may hang, grow without bound, or use SIGALRM, which works on the main thread of a
process only. A `Child` keeps one process with its own main thread, passes JSON lines, and kills and replaces it when it
overruns or dies. This bounds time and memory; it is no sandbox: never pass it a program to run.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fusion.errors import EngineError

START_S = 120.0
"""Time for the child to import its libraries; two seconds where the machine is idle."""
MEMORY_BYTES = 4 * 2**30

Answer = Callable[[dict[str, object]], object]


class ChildTimeout(Exception):  # noqa: N818 (an outcome of a question, not a fault of ours)
    """The question was not answered in time; the process was killed."""


class ChildFailed(Exception):  # noqa: N818
    """The question made the child raise or die."""


class Child:
    """One process that calls `answer` for one question at a time; threads wait for each other.

    Args:
        loader: `module:function` that returns `answer`; heavy imports go there.
        deadline_s: time for one answer.
        settings: what the function is called with; empty: nothing.
    """

    def __init__(self, loader: str, deadline_s: float, settings: str = "") -> None:
        self._loader = loader
        self._settings = settings
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._lock:
            self._start()  # now, beside whatever else is loading, not under the first question
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._end()

    def ask(self, question: dict[str, object]) -> object:
        """The answer.

        Raises:
            ChildTimeout: it took longer than `deadline_s`.
            ChildFailed: the question raised, or ended the process (out of memory).
            EngineError: the child does not start.
        """
        with self._lock:
            process = self._process or self._start()
            try:
                reply = self._exchange(process, question, self._deadline_s)
            except (ChildTimeout, ChildFailed):
                self._end()
                raise
        if "error" in reply:
            raise ChildFailed(str(reply["error"]))
        return reply["answer"]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "fusion.rewards.child", self._loader, *filter(None, [self._settings])]
        # Python started with -m finds `fusion` where this process found it, whatever the working directory is.
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        try:
            reply = self._exchange(process, None, START_S)
        except (ChildTimeout, ChildFailed) as error:
            self._end()
            raise EngineError(f"the verifier process {self._loader} did not start: {error}") from error
        if "error" in reply:
            self._end()
            raise EngineError(f"the verifier process {self._loader} did not start: {reply['error']}")
        return process

    def _exchange(
        self, process: subprocess.Popen[bytes], question: dict[str, object] | None, limit_s: float
    ) -> dict[str, object]:
        assert process.stdin is not None
        assert process.stdout is not None
        if question is not None:
            try:
                process.stdin.write(json.dumps(question).encode() + b"\n")
                process.stdin.flush()
            except BrokenPipeError as error:
                raise ChildFailed("the verifier process has died") from error
        reply = _read_line(process.stdout.fileno(), limit_s)
        return dict(json.loads(reply))

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _read_line(descriptor: int, limit_s: float) -> bytes:
    data = b""
    end = time.monotonic() + limit_s
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not data.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise ChildTimeout(f"no answer within {limit_s:g} s")
            chunk = os.read(descriptor, 65536)
            if not chunk:
                raise ChildFailed("the process died, e.g. out of memory")
            data += chunk
    return data


def main(loader: str, *settings: str) -> None:
    """The child's side."""
    import resource

    questions, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with replies
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    def reply(message: dict[str, object]) -> None:
        replies.write(json.dumps(message).encode() + b"\n")
        replies.flush()

    try:
        module, _, name = loader.partition(":")
        answer: Answer = getattr(importlib.import_module(module), name)(*settings)
    except Exception as error:
        reply({"error": f"{type(error).__name__}: {error}"})
        return
    reply({"answer": "ready"})
    for line in questions:
        try:
            reply({"answer": answer(json.loads(line))})
        except Exception as error:
            reply({"error": f"{type(error).__name__}: {error}"})


def _end_with(parent: int) -> None:
    """A killed parent cannot tell; a child that is deep in a computation does not read its input."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
