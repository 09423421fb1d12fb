"""The tests' side: a warm process in a sandbox of its own, which forks for each case and sends back its verdict.

The case: `{"setup", "program", "tests", "entry_point", "seed"}`. The setup runs on both sides, the program over there,
the tests here; names that the tests use and neither they nor the setup nor Python define are the program's.
"""

from __future__ import annotations

import importlib
import os
import random
import socket
import sys
import traceback
import types
import typing
import unittest
from collections.abc import Sequence
from contextlib import suppress

from fusion.sandbox.guest import limit
from fusion.sandbox.names import STANDARD, free_names, used_and_bound
from fusion.sandbox.remote import Remotes, Unsupported
from fusion.sandbox.wire import Broken, Ended, Wire

FRAME = "<test"
MAX_DETAIL = 400


class BadTests(Exception):  # noqa: N818 (what the verdict says, not a fault of ours)
    """The reference is broken: its setup raises, or it tests nothing."""


def main() -> None:
    """Arguments `DESCRIPTOR LIMITS`: judge what comes with a guest's socket, until the host is gone."""
    limit(sys.argv[2])
    control = socket.socket(fileno=int(sys.argv[1]))
    host = Wire(control.fileno())
    host.send({"ready": True})
    while True:
        byte, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not byte:
            return
        case = host.receive()
        if (child := os.fork()) == 0:
            try:
                host.send(_verdict(case, Wire(descriptors[0]), host))
            finally:
                os._exit(0)
        os.close(descriptors[0])
        _, status = os.waitpid(child, 0)
        host.send({"done": status})


def _verdict(case: dict[str, object], guest: Wire, host: Wire) -> dict[str, object]:
    """`{"outcome": pass | fail | error | ended, "detail"}`."""
    try:
        guest.receive()
        host.send({"started": True})
        _judge(case, Remotes(guest))
    except Ended:
        return {"outcome": "ended", "detail": "the program ended its process before the tests were done"}
    except Broken as error:
        return {"outcome": "fail", "detail": f"the program disturbed the tests: {error}"}
    except (BadTests, Unsupported) as error:
        return {"outcome": "error", "detail": str(error)[:MAX_DETAIL]}
    except SystemExit:
        return {"outcome": "error", "detail": "the tests exit"}
    except BaseException as error:
        return {"outcome": "fail", "detail": _described(error)}
    return {"outcome": "pass", "detail": None}


def _judge(case: dict[str, object], remotes: Remotes) -> None:
    setup, program, entry = str(case["setup"]), str(case["program"]), str(case["entry_point"] or "")
    tests = [str(test) for test in typing.cast("list[object]", case["tests"])]
    random.seed(int(str(case["seed"])))
    module = types.ModuleType("tests")
    sys.modules["tests"] = module
    names = module.__dict__
    names |= _standard(tests)
    _set_up(setup, names)
    remotes.peer.ask("load", [("setup", setup), ("program", program)])
    for name in _programs_names(tests, names, entry):
        with suppress(NameError):  # the test that needs it says so
            names[name] = remotes.peer.ask("lookup", name)
    for number, test in enumerate(tests, 1):
        exec(compile(test, f"{FRAME} {number} of {len(tests)}>", "exec"), names)  # noqa: S102 it is the point
    _run_defined(names, entry)
    remotes.peer.ask("operate", "bool", True)  # tests that swallow the program's end do not pass


def _set_up(setup: str, names: dict[str, object]) -> None:
    try:
        exec(compile(setup, "<setup>", "exec"), names)  # noqa: S102
    except BaseException as error:
        raise BadTests(f"the setup of the reference raises {_described(error)}") from error


def _programs_names(tests: Sequence[str], names: dict[str, object], entry: str) -> list[str]:
    """Names to ask the program for: the entry point, the classes of the setup (the program makes instances of them over
    there), and what the tests use and nobody here defines."""
    classes = [name for name, value in names.items() if isinstance(value, type) and value.__module__ == "tests"]
    return [*free_names(tests, [*names, entry]), *classes, *([entry] if entry else [])]


def _standard(tests: Sequence[str]) -> dict[str, object]:
    """Tests written to run beside the program lean on its imports: `math.isclose`, `List`. They get Python's own."""
    used, bound = used_and_bound(tests)
    wanted = [name for name in used if name in STANDARD and name not in bound]
    return {name: getattr(typing, name) if name in typing.__all__ else importlib.import_module(name) for name in wanted}


def _run_defined(names: dict[str, object], entry: str) -> None:
    """Call what the tests only define: HumanEval's `check(candidate)`, functions `test_*`, unittest's cases."""
    if entry and isinstance(check := names.get("check"), types.FunctionType):
        check(names[entry])
    for name, value in list(names.items()):
        if name.startswith("test") and isinstance(value, types.FunctionType):
            value()
        elif isinstance(value, type) and issubclass(value, unittest.TestCase):
            unittest.defaultTestLoader.loadTestsFromTestCase(value).debug()


def _described(error: BaseException) -> str:
    """`test 2 of 3: assert f(1) == 2: AssertionError`."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(FRAME)]
    where = f"{frames[-1].filename.strip('<>')}, line {frames[-1].lineno}: " if frames else ""
    text = f"{type(error).__name__}: {error}".removeprefix("RemoteError: ").removesuffix(": ")
    return f"{where}{text}"[:MAX_DETAIL]
