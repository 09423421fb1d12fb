"""Who answers at an address, asked over HTTP: a head that checks tokens, one that does not, something else, nobody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from fusion.errors import ConfigError
from fusion.submission.head import Head, address, admit, probe


@contextmanager
def server(status: int, body: bytes, token: str = "") -> Iterator[str]:
    """Answers so whoever shows the token, if there is one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            knows = not token or self.headers.get("Authorization") == f"Bearer {token}"
            self.send_response(status if knows else 401)
            self.end_headers()
            self.wfile.write(body if knows else b"Unauthorized")

        def log_message(self, *_: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()


def test_a_head_that_wants_a_token_is_let_in() -> None:
    with server(401, b"Unauthorized: Missing authentication token") as url:
        head = probe(url)
    assert head == Head(url, is_open=False, ray_version="")
    admit(head, "")


def test_an_open_head_is_let_in_only_by_its_name() -> None:
    with server(200, b'{"version": "4", "ray_version": "2.60.0"}') as url:
        head = probe(url)
    assert head.is_open
    for named in ("", "127.0.0.1:1"):
        with pytest.raises(ConfigError, match=f"without a token.*--allow-open-head {head.name}"):
            admit(head, named)
    admit(head, head.name)


@pytest.mark.parametrize(("status", "body"), [(404, b""), (200, b"<html>hello</html>"), (500, b"{}")])
def test_something_else_is_no_head(status: int, body: bytes) -> None:
    with server(status, body) as url, pytest.raises(ConfigError, match="no head of Ray"):
        probe(url)


def test_nobody_there_says_what_to_type() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ConfigError, match="ray start --head.*port-forward"):
        probe(url)


@pytest.mark.parametrize(
    ("told", "environment", "expected"),
    [
        ("", {}, "http://127.0.0.1:8265"),
        ("http://h:1/", {"RAY_ADDRESS": "http://other:2"}, "http://h:1"),  # what is typed wins
        ("", {"RAY_ADDRESS": "http://h:1"}, "http://h:1"),
        ("", {"RAY_ADDRESS": "http://h:1", "RAY_API_SERVER_ADDRESS": "http://j:2"}, "http://j:2"),
        ("auto", {}, "http://127.0.0.1:8265"),
    ],
)
def test_the_address_is_looked_for_where_ray_job_looks(told: str, environment: dict[str, str], expected: str) -> None:
    assert address(told, environment) == expected


@pytest.mark.parametrize("told", ["head:6379", "ray://head:10001"])
def test_the_address_of_something_else_is_refused(told: str) -> None:
    with pytest.raises(ConfigError, match="8265"):
        address(told, {})
