"""The tests of a contest problem as Python sources for the sandbox: what a program reads and prints, or returns.

LiveCodeBench's rows (arXiv 2403.07974) hold public and private cases, the latter often as base64 of a compressed pickle
of one text. That text is taken out of the pickle's instructions; nothing is unpickled.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from fusion.rewards.code_reference import BadReference

MAX_BYTES = 256 * 2**20
"""Of decompressed cases; the largest published ones have a tenth."""
STARTS = (
    "import sys\nsys.setrecursionlimit(50000)\n"
    "from string import *\nfrom re import *\nfrom datetime import *\nfrom collections import *\nfrom heapq import *\n"
    "from bisect import *\nfrom copy import *\nfrom math import *\nfrom random import *\nfrom statistics import *\n"
    "from itertools import *\nfrom functools import *\nfrom operator import *\nfrom io import *\nfrom sys import *\n"
    "from json import *\nfrom builtins import *\nfrom typing import *\n"
    "import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools\n"
    "import operator, io, sys, json\n"
)
"""What contest programs may use without importing it: LiveCodeBench's evaluation puts the same in front of them."""
CHECKS = """\
def _lines(text):
    return [line.strip() for line in text.strip().split("\\n")]


def _numbers(line):
    from decimal import Decimal, InvalidOperation
    try:
        return [Decimal(word) for word in line.split()]
    except InvalidOperation:
        return None


def _same(ours, wanted):
    return ours == wanted or (_numbers(ours) is not None and _numbers(ours) == _numbers(wanted))


def printed(ours, wanted):
    a, b = _lines(ours), _lines(wanted)
    assert len(a) == len(b), f"printed {len(a)} lines, expected {len(b)}"
    for number, (mine, other) in enumerate(zip(a, b), 1):
        assert _same(mine, other), f"line {number}: printed {mine[:80]!r}, expected {other[:80]!r}"


def returned(ours, wanted):
    import json
    assert json.loads(ours) == json.loads(wanted), f"returned {ours[:80]}, expected {wanted[:80]}"
"""
"""As LiveCodeBench compares: lines without outer space, equal as text or as decimal numbers; values equal as JSON."""
RUNS = '''\
def run_on(text):
    """What the program prints when it reads `text`: in a process of its own, so that each case starts afresh."""
    import os, sys, tempfile, traceback
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as wrong:
        given.write(text.encode())
        given.flush()
        given.seek(0)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(given.fileno(), 0)
                os.dup2(printed.fileno(), 1)
                sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
                try:
                    exec(compile(SOURCE, "<program>", "exec", dont_inherit=True), {"__name__": "__main__"})
                    status = 0
                except SystemExit as end:
                    status = 0 if end.code in (None, 0) else 1
                sys.stdout.flush()
            except BaseException as error:
                status = 1
                wrong.write(f"{type(error).__name__}: {error}"[:200].encode(errors="replace"))
                wrong.flush()
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            raise RuntimeError(f"the program was ended by signal {os.WTERMSIG(status)}")
        if status:
            wrong.seek(0)
            raise RuntimeError(wrong.read().decode(errors="replace") or "the program ended with an error status")
        printed.seek(0)
        return printed.read().decode(errors="replace")
'''
CALLS = '''\

def call_with(text):
    """What the function returns, as JSON; each line of `text` is one argument as JSON."""
    import json
    arguments = [json.loads(line) for line in text.split("\\n")]
    scope = globals()
    owner = scope["Solution"]() if "Solution" in scope else None
    function = getattr(owner, NAME) if owner is not None else scope[NAME]
    return json.dumps(function(*arguments))
'''


@dataclass(frozen=True, slots=True)
class ContestCases:
    """Example: ContestCases([("1 2\\n", "3\\n")], "")"""

    cases: list[tuple[str, str]]
    """What is read, and what is to be printed; or arguments a line, and what is to be returned, as JSON."""
    function: str
    """Name of the function, or of `Solution`'s method, that is called; empty: the program reads and prints."""

    @property
    def tests(self) -> list[str]:
        """Sources for the sandbox's judge, one a case."""
        if self.function:
            return [f"returned(call_with({given!r}), {wanted!r})" for given, wanted in self.cases]
        return [f"printed(run_on({given!r}), {wanted!r})" for given, wanted in self.cases]

    def program(self, text: str) -> str:
        """The program as the sandbox's guest is to load it."""
        if self.function:
            return f"{STARTS}\n{text}\n\nNAME = {self.function!r}\n{CALLS}"
        return f"SOURCE = {STARTS + chr(10) + text!r}\n{RUNS}"


def contest_cases(reference: str | None) -> ContestCases | None:
    """The cases, or None where the reference is another verifier's.

    Args:
        reference: JSON object with `public_test_cases` and `private_test_cases` (as LiveCodeBench has them: JSON text
            of a list of `input`, `output` and `testtype`, or that packed) and `metadata` (JSON text with `func_name`).

    Raises:
        BadReference: the cases cannot be read, or there are none.
    """
    try:
        data = json.loads(reference or "")
    except ValueError:
        return None
    if not isinstance(data, dict) or "public_test_cases" not in data:
        return None
    try:
        listed = [
            case for name in ("public_test_cases", "private_test_cases") for case in _cases(data.get(name) or "[]")
        ]
        cases = [(str(case["input"]), str(case["output"])) for case in listed]
        kinds = {str(case.get("testtype", "stdin")) for case in listed}
        metadata = json.loads(data.get("metadata") or "{}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadReference(f"the cases of the problem cannot be read: {type(error).__name__}: {error}"[:300]) from error
    if not cases or len(kinds) > 1:
        raise BadReference(f"the problem has {len(cases)} cases of the kinds {sorted(kinds)}; one kind is expected")
    function = str(metadata.get("func_name") or "") if kinds == {"functional"} else ""
    if kinds == {"functional"} and not function.isidentifier():
        raise BadReference(f"the problem's function has no usable name: {function!r}")
    return ContestCases(cases, function)


def _cases(text: str) -> list[Mapping[str, object]]:
    """A JSON list, or one that is packed."""
    try:
        found = json.loads(text)
    except ValueError:
        found = json.loads(_unpacked(text))
    if not isinstance(found, list):
        raise ValueError(f"a list of cases is expected, found {type(found).__name__}")
    return found


def _unpacked(text: str) -> str:
    """The one text in base64 of zlib of a pickle.

    Raises:
        ValueError: it is anything else.
    """
    try:
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(base64.b64decode(text, validate=True), MAX_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"neither JSON nor packed cases: {error}") from error
    if unpacker.unconsumed_tail:
        raise ValueError(f"more than {MAX_BYTES} bytes of cases")
    texts = [value for operation, value, _ in pickletools.genops(data) if isinstance(value, str)]
    if len(texts) != 1:
        raise ValueError(f"the packed cases hold {len(texts)} texts, not one")
    return str(texts[0])
