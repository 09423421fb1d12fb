"""A real HTTP server on the loopback that speaks the OpenAI API, and misbehaves on demand."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
Answer = Callable[[str, Body], Body]
"""(path, body) -> the reply as JSON."""


@dataclass
class Fault:
    """What happens to one request instead of an answer, or to its answer."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "no"
    text: str | None = None
    """Sent as it is, with status 200."""
    wait_s: float = 0.0
    """Silence before the answer."""
    drops: bool = False
    """The connection ends in the middle of the reply."""


@dataclass
class Server:
    """What the server was asked, and how it is to answer."""

    url: str
    answer: Answer
    faults: deque[Fault] = field(default_factory=deque)
    """One a request, in order of arrival."""
    always: Callable[[Body], Fault | None] = lambda body: None
    """The fault of requests with this body, each time they come."""
    models: list[Body] = field(default_factory=list)
    asked: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving(answer: Answer, models: list[Body] | None = None) -> Iterator[Server]:
    """The server, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200, {"object": "list", "data": server.models})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                server.asked.append(body)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                fault = server.faults.popleft() if server.faults else server.always(body)
            if fault is not None and fault.wait_s:
                closing.wait(fault.wait_s)
            if fault is not None and fault.status:
                self._send(fault.status, {"error": {"message": fault.message, "type": "t"}}, fault.headers)
            elif fault is not None and fault.text is not None:
                self._raw(200, fault.text.encode(), {})
            elif fault is not None and fault.drops:
                self._raw(200, b'{"choices": [', {"Content-Length": "1000"})
                self.close_connection = True
            else:
                self._send(200, server.answer(self.path, body))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Silent."""

        def _send(self, status: int, reply: Body, headers: dict[str, str] | None = None) -> None:
            self._raw(status, json.dumps(reply).encode(), headers or {})

        def _raw(self, status: int, data: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            for name, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            """Clients that leave are part of the tests."""

    closing = threading.Event()
    http = Quiet(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_port}/v1", answer, models=models or [])
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        closing.set()
        http.shutdown()
        http.server_close()
        thread.join()


def completion(*texts: str, model: str = "m", finish_reason: str = "stop", **usage: int) -> Body:
    """A reply of /completions."""
    choices = [{"index": i, "text": text, "finish_reason": finish_reason} for i, text in enumerate(texts)]
    return {"model": model, "choices": choices, "usage": {"prompt_tokens": 3, "completion_tokens": 5} | usage}


def chat(text: str, model: str = "m", finish_reason: str = "stop", logprobs: list[Body] | None = None) -> Body:
    """A reply of /chat/completions."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    if logprobs is not None:
        choice["logprobs"] = {"content": logprobs}
    return {"model": model, "choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
