"""Messages between judge and guest: framed JSON in which plain values travel by value, everything else by handle.

Both processes load this file, from inside their sandboxes: it imports what Python has at hand anyway. What the guest
sends is data of a hostile program; decoding builds values of known types and calls nothing of the program's.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from importlib import import_module

MAX_MESSAGE_BYTES = 64 * 2**20
SMALL_INT = 2**53
"""From here on integers travel as hexadecimal: decimal digits cost quadratic time and Python limits their number."""

SEQUENCES: dict[str, type] = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque,
}  # fmt: skip
BY_TEXT = ("decimal.Decimal", "fractions.Fraction", "datetime.datetime", "datetime.date", "datetime.time")
"""Value types that their text determines. Named, not imported: the guest starts once a program."""
PROGRAM = "solution"
"""The module name under which the program runs."""


class Ended(BaseException):
    """The other side is gone. A BaseException, so that tests which catch everything do not hide it."""


class Broken(BaseException):
    """The other side sent what is no message."""


class Wire:
    """Frames on a socket: eight bytes of length, then JSON."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, message: object) -> None:
        data = json.dumps(message).encode()
        view = memoryview(len(data).to_bytes(8, "big") + data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except OSError as error:
                raise Ended from error

    def receive(self) -> dict[str, object]:
        """The next message.

        Raises:
            Ended: there will be none.
            Broken: it is too long, or not a JSON object.
        """
        length = int.from_bytes(self._read(8), "big")
        if length > MAX_MESSAGE_BYTES:
            raise Broken(f"a message of {length} bytes; at most {MAX_MESSAGE_BYTES} are read")
        try:
            message = json.loads(self._read(length))
        except (ValueError, RecursionError) as error:
            raise Broken(f"no message: {error}") from error
        if not isinstance(message, dict):
            raise Broken("no message: not an object")
        return message

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            try:
                chunk = os.read(self._descriptor, min(length - len(data), 2**20))
            except OSError as error:
                raise Ended from error
            if not chunk:
                raise Ended
            data += chunk
        return bytes(data)


class Peer:
    """One side of the conversation: asks the other, and answers it meanwhile, so that callbacks work.

    Args:
        operations: what the other side may ask for, by name.
        export: makes the handle of an object that cannot travel: `["guest", 7]`.
        resolve: handle -> the object here that stands for it.
        revive: names of the classes of an exception over there, and its text -> an exception to raise here.
    """

    def __init__(
        self,
        wire: Wire,
        operations: Mapping[str, Callable[..., object]],
        export: Callable[[object], list[object]],
        resolve: Callable[[str, int], object],
        revive: Callable[[list[str], str], Exception],
    ) -> None:
        self._wire = wire
        self._operations = operations
        self._export = export
        self._resolve = resolve
        self._revive = revive

    def ask(self, operation: str, *values: object) -> object:
        """What the other side answers; raises what it raised there."""
        self._wire.send({"ask": operation, "values": self.encode(list(values))})
        while True:
            message = self._wire.receive()
            if "ask" in message:
                self._answer(message)
            elif "raised" in message:
                raise self._revived(message["raised"])
            else:
                return self._decoded(message.get("value"))

    def serve(self) -> None:
        """Answer until the other side is gone."""
        while True:
            self._answer(self._wire.receive())

    def _answer(self, message: dict[str, object]) -> None:
        operation = self._operations.get(str(message.get("ask")))
        if operation is None:
            raise Broken(f"unknown operation {message.get('ask')!r}"[:100])
        values = self._decoded(message.get("values"))
        if not isinstance(values, list):
            raise Broken("values are not a list")
        try:
            reply = {"value": self.encode(operation(*values))}
        except (Ended, Broken):
            raise
        except BaseException as error:  # the program's SystemExit, too, is an answer
            names = [kind.__name__ for kind in type(error).__mro__]
            reply = {"raised": [names, _text_of(error)]}
        self._wire.send(reply)

    def _revived(self, raised: object) -> Exception:
        match raised:
            case [list(names), str(text)]:
                return self._revive([str(name) for name in names], text)
        raise Broken("no exception")

    def _decoded(self, data: object) -> object:
        try:
            return self.decode(data)
        except (TypeError, ValueError, ArithmeticError, RecursionError, LookupError) as error:
            raise Broken(f"a value that cannot be read: {type(error).__name__}: {error}"[:200]) from error

    def encode(self, value: object) -> object:
        """JSON of a value. Containers of the program's own classes (a `class Stack(list)`) go by handle."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value) if -SMALL_INT < value < SMALL_INT else ["int", hex(value)]
        if isinstance(value, float):
            return float(value)
        if isinstance(value, str):
            return str.__str__(value)
        kind = type(value)
        if isinstance(value, tuple) or kind.__module__ != PROGRAM:
            for tag, sequence in SEQUENCES.items():
                if isinstance(value, sequence):
                    return [tag, list(map(self.encode, value))]  # type: ignore[call-overload]
            if isinstance(value, dict):
                return ["dict", [[self.encode(key), self.encode(item)] for key, item in value.items()]]
        return _encoded_scalar(value, f"{kind.__module__}.{kind.__name__}") or self._export(value)

    def decode(self, data: object) -> object:
        """Inverse of `encode`, on data that may be hostile.

        Raises:
            TypeError, ValueError, ArithmeticError, LookupError, RecursionError: it is no encoded value.
        """
        match data:
            case None | bool() | int() | float() | str():
                return data
            case ["dict", list(pairs)]:
                return {self.decode(key): self.decode(item) for key, item in pairs}
            case [str(tag), list(items)] if tag in SEQUENCES:
                return SEQUENCES[tag](self.decode(item) for item in items)
            case ["guest" | "judge" as tag, int(number)]:
                return self._resolve(tag, number)
            case [str(tag), payload]:
                return _decoded_scalar(tag, payload)
        raise ValueError("an unknown form")


def _encoded_scalar(value: object, name: str) -> list[object] | None:
    if isinstance(value, bytes | bytearray):
        return [type(value).__name__, value.hex()] if type(value) in (bytes, bytearray) else None
    if isinstance(value, complex):
        return ["complex", repr(complex(value))]
    if isinstance(value, range):
        return ["range", f"{value.start} {value.stop} {value.step}"]
    if name == "datetime.timedelta":
        return [name, f"{value.days} {value.seconds} {value.microseconds}"]  # type: ignore[attr-defined]
    return [name, str(value)] if name in BY_TEXT else None


def _decoded_scalar(tag: str, payload: object) -> object:
    text = str(payload)
    if tag == "int":
        return int(text, 16)
    if tag in ("bytes", "bytearray"):
        return (bytes if tag == "bytes" else bytearray).fromhex(text)
    if tag == "complex":
        return complex(text)
    if tag == "range":
        return range(*map(int, text.split()))
    if tag not in (*BY_TEXT, "datetime.timedelta"):
        raise ValueError(f"unknown type {tag[:50]}")
    module, _, name = tag.partition(".")
    kind = getattr(import_module(module), name)
    if tag == "datetime.timedelta":
        return kind(*map(int, text.split()))
    return kind.fromisoformat(text) if module == "datetime" else kind(text)


def _text_of(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except Exception:
        return "(its text cannot be had)"
