"""The live page: one run in a browser, from this machine, asking nothing of any other.

    /             the page; it asks for the next line every second
    /state.json   the run's `View`

On a loopback address only requests that name a loopback host are answered, so that a foreign page whose name was made
to point here cannot read it.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources

from rich.console import Console

from fusion.errors import ConfigError
from fusion.watching.view import View

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}

log = logging.getLogger(__name__)


class PageServer(ThreadingHTTPServer):
    """Serves what `look` sees; port 0: any free one.

    Raises:
        ConfigError: the address cannot be listened at.
    """

    daemon_threads = True

    def __init__(self, look: Callable[[], View], host: str, port: int) -> None:
        self.look = look
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"cannot listen at {host}:{port}: {error}; type another port: --serve PORT") from error

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}/"

    @property
    def is_private(self) -> bool:
        return _is_loopback(str(self.server_address[0]))


def serve(look: Callable[[], View], host: str, port: int, console: Console) -> None:
    """Serve until Ctrl-C."""
    with PageServer(look, host, port) as server:
        whom = "this machine only" if server.is_private else "everybody who reaches this machine, unencrypted"
        console.print(f"{server.url}  ({whom}; Ctrl-C ends it)", soft_wrap=True, highlight=False)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.server.is_private and not _is_loopback(_host_of(self.headers.get("Host", ""))):
            self._answer(403, "text/plain", b"not asked for by the name of this machine\n")
        elif path == "/state.json":
            self._answer_state()
        elif path in FILES:
            name, kind = FILES[path]
            self._answer(200, kind, resources.files("fusion.watching").joinpath(name).read_bytes())
        else:
            self._answer(404, "text/plain", b"there is / and /state.json\n")

    def _answer_state(self) -> None:
        try:
            content = json.dumps(asdict(self.server.look())).encode()
        except ConfigError as error:  # the folder of the run was removed
            self._answer(410, "text/plain; charset=utf-8", str(error).encode())
        else:
            self._answer(200, "application/json", content)

    def _answer(self, code: int, kind: str, content: bytes) -> None:
        self.send_response(code)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-store"}
        headers |= {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in http.server)
        log.debug(format, *args)


def _host_of(header: str) -> str:
    """`127.0.0.1` of `127.0.0.1:8270`, `::1` of `[::1]:8270`."""
    return header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
