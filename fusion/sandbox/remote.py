"""Stand-ins, in the judge's process, for what lives in the program's: its functions, classes and instances.

What a stand-in returns is a value, or another stand-in. It never meets an expected value on the program's terms: `==`
with a plain value is False, `in` compares the items one by one over here, and arithmetic works among stand-ins only. A
program that returns an object equal to everything gains nothing.
"""

from __future__ import annotations

import builtins
import operator
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

from fusion.sandbox.wire import Peer, Wire

T = TypeVar("T")
OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "lt", "le", "gt", "ge", "and", "or", "xor"]


class Unsupported(BaseException):
    """The tests do what cannot reach the program: their fault, not its."""


class RemoteError(Exception):
    """The program raised an exception of its own class, or wanted to exit."""


class Remotes:
    """The judge's end of the conversation with one program."""

    def __init__(self, wire: Wire) -> None:
        self._exported: list[object] = []
        self._known: dict[int, Remote] = {}
        self.peer = Peer(wire, {"call": self._call_back}, self._export, self._resolve, _revive)

    def _export(self, value: object) -> list[object]:
        if isinstance(value, Remote):
            return ["guest", object.__getattribute__(value, "_number")]
        if not callable(value) or isinstance(value, type):
            raise Unsupported(f"the tests pass a {type(value).__name__}, which cannot reach the program")
        self._exported.append(value)
        return ["judge", len(self._exported) - 1]

    def _resolve(self, tag: str, number: int) -> object:
        if tag == "judge":
            return self._exported[number]
        return self._known.setdefault(number, Remote(self.peer, number))

    def _call_back(self, number: object, values: object) -> object:
        assert isinstance(number, int)
        assert isinstance(values, list)
        function = self._exported[number]
        assert callable(function)
        return function(*values)


class Remote:
    """One object of the program's."""

    __slots__ = ("_number", "_peer")

    def __init__(self, peer: Peer, number: int) -> None:
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def _ask(self, operation: str, *values: object) -> object:
        peer: Peer = object.__getattribute__(self, "_peer")
        return peer.ask(operation, *values)

    def __call__(self, *values: object, **named: object) -> object:
        answer = self._ask("call", self, list(values), named)
        match answer:
            case [result, list(changed)]:
                for index, value in changed:
                    _replace(values[index], value)
                return result
        return answer

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("getattr", self, name)

    def __setattr__(self, name: str, value: object) -> None:
        self._ask("setattr", self, name, value)

    def __iter__(self) -> Iterator[object]:
        iterator = self._ask("iter", self)
        if not isinstance(iterator, Remote):
            raise TypeError("the program's object is not iterable")
        while isinstance(item := iterator._ask("next", iterator), list) and item:
            yield item[0]

    def __next__(self) -> object:
        item = self._ask("next", self)
        if isinstance(item, list) and item:
            return item[0]
        raise StopIteration

    def __getitem__(self, key: object) -> object:
        return self._ask("operate", "getitem", self, key)

    def __setitem__(self, key: object, value: object) -> None:
        self._ask("setitem", self, key, value)

    def __contains__(self, value: object) -> bool:
        return any(item == value for item in self)

    def __len__(self) -> int:
        return _exactly(int, self._ask("operate", "len", self))

    def __bool__(self) -> bool:
        return _exactly(bool, self._ask("operate", "bool", self))

    def __str__(self) -> str:
        return _exactly(str, self._ask("operate", "str", self))

    def __repr__(self) -> str:
        return _exactly(str, self._ask("operate", "repr", self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and (self is other or bool(self._ask("operate", "eq", self, other)))

    def __hash__(self) -> int:
        return object.__hash__(self)


def _operator(name: str) -> Callable[[Remote, object], object]:
    def operate(self: Remote, other: object) -> object:
        return self._ask("operate", name, self, other) if isinstance(other, Remote) else NotImplemented

    return operate


for _name in OPERATORS:
    setattr(Remote, f"__{_name}__", _operator(f"{_name}_" if hasattr(operator, f"{_name}_") else _name))


def _exactly(kind: type[T], value: object) -> T:
    if type(value) is not kind:
        raise TypeError(f"the program's object gives {type(value).__name__} where {kind.__name__} is needed")
    return value


def _replace(old: object, new: object) -> None:
    """Give a container that was passed to the program the content that the program left in it."""
    if isinstance(old, list | bytearray | deque) and isinstance(new, list | bytearray | deque):
        old.clear()
        old.extend(new)
    elif isinstance(old, dict) and isinstance(new, dict):  # noqa: SIM114 (mypy narrows one type at a time)
        old.clear()
        old.update(new)
    elif isinstance(old, set) and isinstance(new, set):
        old.clear()
        old.update(new)
    else:
        raise TypeError("an argument changed its type")


def _revive(names: list[str], text: str) -> Exception:
    """An exception of the first class that Python itself has, so that tests can expect a ValueError."""
    for name in names:
        kind = getattr(builtins, name, None)
        if name != "Exception" and isinstance(kind, type) and issubclass(kind, Exception):
            try:
                return kind(text)
            except TypeError:  # UnicodeDecodeError wants five arguments
                continue
    return RemoteError(f"{names[0]}: {text}" if names else text)
