"""The program's side: runs the program and answers the judge. Everything in this process belongs to the program."""

from __future__ import annotations

import json
import operator
import resource
import sys
from collections import deque
from collections.abc import Callable
from types import ModuleType

from fusion.sandbox.wire import PROGRAM, Broken, Ended, Peer, Wire

MUTABLE = (list, dict, set, bytearray, deque)


def main() -> None:
    """Arguments `DESCRIPTOR LIMITS`: take the limits, say that it is ready, serve until the judge is gone."""
    limit(sys.argv[2])
    wire = Wire(int(sys.argv[1]))
    guest = _Guest(wire)
    wire.send({"ready": True})
    try:
        guest.peer.serve()
    except (Ended, Broken):
        return


def limit(limits: str) -> None:
    """Set resource limits, `{"RLIMIT_AS": bytes, ...}`, of this process and all it starts, for good."""
    for name, value in json.loads(limits).items():
        resource.setrlimit(getattr(resource, name), (value, value))


class _Guest:
    def __init__(self, wire: Wire) -> None:
        self._module = ModuleType(PROGRAM)
        self._objects: list[object] = []
        self._numbers: dict[int, int] = {}
        operations: dict[str, Callable[..., object]] = {
            "load": self._load,
            "lookup": self._lookup,
            "call": self._call,
            "iter": iter,
            "next": _next,
            "operate": _operate,
            "getattr": getattr,
            "setattr": setattr,
            "setitem": operator.setitem,
        }
        self.peer = Peer(wire, operations, self._export, self._resolve, _revive)

    def _load(self, sources: list[tuple[str, str]]) -> None:
        sys.modules[PROGRAM] = self._module
        for name, text in sources:
            exec(compile(text, f"<{name}>", "exec", dont_inherit=True), self._module.__dict__)  # noqa: S102 it is the point

    def _lookup(self, name: str) -> object:
        try:
            return self._module.__dict__[name]
        except KeyError:
            raise NameError(f"name {name!r} is not defined") from None

    def _call(self, target: object, values: list[object], named: dict[str, object]) -> object:
        """The result, and those arguments that the call has changed: the caller's own must change with them."""
        assert callable(target)
        given = [(index, value) for index, value in enumerate(values) if isinstance(value, MUTABLE)]
        before = [self.peer.encode(value) for _, value in given]
        result = target(*values, **named)
        changed = [
            (index, value) for (index, value), old in zip(given, before, strict=True) if self.peer.encode(value) != old
        ]
        return result, changed

    def _export(self, value: object) -> list[object]:
        number = self._numbers.setdefault(id(value), len(self._objects))
        if number == len(self._objects):
            self._objects.append(value)  # kept, so that its id stays its own
        return ["guest", number]

    def _resolve(self, tag: str, number: int) -> object:
        if tag == "guest":
            return self._objects[number]
        return lambda *values: self.peer.ask("call", number, list(values))


def _next(iterator: object) -> object:
    """`[item]`, or `[]` at the end."""
    for item in iterator:  # type: ignore[attr-defined]
        return [item]
    return []


def _operate(name: str, *values: object) -> object:
    """`len`, `bool`, `str`, `repr`, or a function of `operator`: eq, getitem, add, ..."""
    builtin: dict[str, Callable[..., object]] = {"len": len, "bool": bool, "str": str, "repr": repr}
    function: Callable[..., object] = builtin.get(name) or getattr(operator, name)
    return function(*values)


def _revive(names: list[str], text: str) -> Exception:
    """What a function of the tests raised, when the program called it."""
    return RuntimeError(f"{names[0]}: {text}")
