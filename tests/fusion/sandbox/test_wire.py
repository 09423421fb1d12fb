"""Decoding what a hostile program sends: values of known types, or a refusal; nothing else happens."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from fusion.sandbox.wire import MAX_MESSAGE_BYTES, Broken, Ended, Peer, Wire


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Wire(ours.fileno()), theirs


def peer(wire: Wire) -> Peer:
    def export(value: object) -> list[object]:
        raise TypeError("no handles here")

    return Peer(
        wire, {"double": lambda x: 2 * x}, export, lambda tag, number: [][number], lambda names, text: OSError(text)
    )


def send(to: socket.socket, data: bytes) -> None:
    to.sendall(len(data).to_bytes(8, "big") + data)


@pytest.mark.parametrize(
    "data",
    [
        ["unknown", "x"],
        ["list"],
        ["list", 3],
        ["set", [["list", []]]],
        ["dict", [[1]]],
        ["dict", [[["dict", []], 1]]],
        ["guest", 7],
        ["int", "zz"],
        ["range", "a"],
        ["decimal.Decimal", "abc"],
        ["fractions.Fraction", "1/0"],
        ["datetime.datetime", "tomorrow"],
        ["os.system", "true"],
        ["builtins.eval", "1"],
        {"a": 1},
        [],
        [["list", []], []],
    ],
    ids=json.dumps,
)
def test_value_of_no_known_form_is_refused(pair: tuple[Wire, socket.socket], data: Any) -> None:
    wire, theirs = pair
    send(theirs, json.dumps({"value": data}).encode())
    with pytest.raises(Broken):
        peer(wire).ask("anything")


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"no json", b"[]", b"\xff", b"[" * 100_000, b'{"raised": 3}', b'{"raised": [1, 2]}'),
        *(b'{"ask": "rm", "values": ["list", []]}', b'{"ask": "double", "values": 3}'),
    ],
)
def test_message_of_no_known_form_is_refused(pair: tuple[Wire, socket.socket], data: bytes) -> None:
    wire, theirs = pair
    send(theirs, data)
    with pytest.raises(Broken):
        peer(wire).ask("anything")


def test_message_over_the_limit_is_not_read(pair: tuple[Wire, socket.socket]) -> None:
    wire, theirs = pair
    theirs.sendall((MAX_MESSAGE_BYTES + 1).to_bytes(8, "big"))
    with pytest.raises(Broken, match="at most"):
        wire.receive()


@pytest.mark.parametrize("sent", [b"", b"\0\0", (9).to_bytes(8, "big") + b"{}"])
def test_end_of_the_other_side_is_told_from_an_answer(pair: tuple[Wire, socket.socket], sent: bytes) -> None:
    wire, theirs = pair
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(Ended):
        wire.receive()


def test_questions_are_answered_while_waiting(pair: tuple[Wire, socket.socket]) -> None:
    wire, theirs = pair
    send(theirs, b'{"ask": "double", "values": ["list", [21]]}')
    send(theirs, b'{"ask": "double", "values": ["list", [null]]}')
    send(theirs, b'{"value": ["tuple", [1, "a"]]}')
    assert peer(wire).ask("anything") == (1, "a")
    sent = Wire(theirs.fileno())
    assert [sent.receive() for _ in "123"][1:] == [
        {"value": 42},
        {
            "raised": [
                ["TypeError", "Exception", "BaseException", "object"],
                "unsupported operand type(s) for *: 'int' and 'NoneType'",
            ]
        },
    ]


def test_large_messages_pass_whole(pair: tuple[Wire, socket.socket]) -> None:
    wire, theirs = pair
    text = "ü" * 3_000_000
    if os.fork() == 0:
        wire.send({"value": text})
        os._exit(0)
    assert Wire(theirs.fileno()).receive() == {"value": text}
    os.wait()
