"""As much of the Hugging Face hub as takes a data set and gives one, or a model: a real HTTP server on the loopback.

It speaks the API that `HfApi.create_repo` and `HfApi.upload_folder` use: small files inside the commit, large ones by
the LFS batch protocol. It does not speak Xet, which the hub offers for large files where the client has it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any


@dataclass
class Hub:
    """What was created and committed."""

    url: str
    token: str
    repos: dict[str, bool] = field(default_factory=dict)
    """`owner/name` -> whether it is private."""
    files: dict[str, bytes] = field(default_factory=dict)
    """`owner/name/path` -> content."""
    objects: dict[str, bytes] = field(default_factory=dict)
    """LFS objects by sha256."""
    damaged: set[str] = field(default_factory=set)
    """Names in `files` that are sent with a bit flipped."""
    messages: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def hub_server(token: str, lfs: str = r"\.parquet$") -> Iterator[Hub]:
    """The server, until the block ends.

    Args:
        lfs: files whose path matches go by LFS.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET")

        def do_HEAD(self) -> None:
            self._answer("HEAD")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_PUT(self) -> None:
            self._answer("PUT")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Silent."""

        def _answer(self, method: str) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            hub.asked.append(f"{method} {self.path}")
            is_object = self.path.startswith("/lfs/")
            if not is_object and self.headers.get("authorization") != f"Bearer {hub.token}":
                self._send(401, {"error": "Invalid credentials"})
                return
            if found := re.fullmatch(r"(?:/datasets)?/([\w.-]+/[\w.-]+)/resolve/([0-9a-f]{40})/(.+)", self.path):
                self._file(method, f"{found[1]}/{found[3]}", found[2])
                return
            status, reply = _reply(hub, lfs, method, self.path, body)
            self._send(status, reply)

        def _file(self, method: str, name: str, commit: str) -> None:
            if name not in hub.files:
                self._send(
                    404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
                )
                return
            data, entry = hub.files[name], _entry(hub, lfs, name, "")
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{entry.get("lfs", entry)["oid"]}"')
            self.end_headers()
            if method == "GET":
                self.wfile.write(data if name not in hub.damaged else bytes([data[0] ^ 1]) + data[1:])

        def _send(self, status: int, reply: Any, headers: Mapping[str, str] = MappingProxyType({})) -> None:
            data = json.dumps(reply).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    hub = Hub(f"http://127.0.0.1:{http.server_port}", token)
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def _reply(hub: Hub, lfs: str, method: str, path: str, body: bytes) -> tuple[int, Any]:
    if path == "/api/repos/create":
        asked = json.loads(body)
        repo = f"{asked.get('organization') or 'me'}/{asked['name']}"
        hub.repos[repo] = bool(asked.get("private") or asked.get("visibility") == "private")
        return 200, {"url": f"{hub.url}/datasets/{repo}", "name": repo}
    if path == "/api/validate-yaml":
        return 200, {"errors": [], "warnings": []}
    if path.startswith("/lfs/"):
        name = path.removeprefix("/lfs/")
        if hashlib.sha256(body).hexdigest() != name:
            return 422, {"error": "the content is not what its name says"}
        hub.objects[name] = body
        return 200, {}
    if found := re.fullmatch(r"/api/datasets/([\w.-]+/[\w.-]+)/preupload/[^/]+", path):
        files = json.loads(body)["files"]
        modes = ["lfs" if re.search(lfs, one["path"]) else "regular" for one in files]
        shown = [
            {"path": one["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}
            for one, mode in zip(files, modes, strict=True)
        ]
        return 200, {"files": shown}
    if path.endswith(".git/info/lfs/objects/batch"):
        objects = json.loads(body)["objects"]
        return 200, {
            "transfer": "basic",
            "objects": [one | {"actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}} for one in objects],
        }
    if found := re.fullmatch(r"/api/datasets/([\w.-]+/[\w.-]+)/commit/[^/]+", path):
        _commit(hub, found[1], body)
        return 200, {"commitUrl": f"{hub.url}/datasets/{found[1]}/commit/c0ffee", "commitOid": "c0ffee" * 6 + "c0ff"}
    if found := re.match(r"/api/models/([\w.-]+/[\w.-]+)/tree/", path):
        return 200, [_entry(hub, lfs, name, f"{found[1]}/") for name in hub.files if name.startswith(f"{found[1]}/")]
    if found := re.match(r"/api/datasets/([\w.-]+/[\w.-]+)/tree/[^/?]+/?([^?]*)", path):
        return 200, list(_children(hub, found[1], f"{found[2]}/" if found[2] else "", "recursive=true" in path.lower()))
    if found := re.match(r"/api/datasets/([\w.-]+/[\w.-]+)", path):
        held = [name.removeprefix(f"{found[1]}/") for name in hub.files if name.startswith(f"{found[1]}/")]
        return 200, {"id": found[1], "sha": "0" * 40, "siblings": [{"rfilename": name} for name in held]}
    return 404, {"error": f"{method} {path} is not spoken here"}


def _children(hub: Hub, repo: str, folder: str, is_recursive: bool) -> Iterator[dict[str, Any]]:
    """What lies in a folder of a data set: files and, one by one, the folders that are not gone into."""
    inside = [name.removeprefix(f"{repo}/{folder}") for name in hub.files if name.startswith(f"{repo}/{folder}")]
    for name in dict.fromkeys(name if is_recursive else name.partition("/")[0] for name in inside):
        kind = "file" if name in inside else "directory"
        yield {"type": kind, "path": folder + name, "size": 1, "oid": "0" * 40}


def _entry(hub: Hub, lfs: str, name: str, repo: str) -> dict[str, Any]:
    """What the hub lists of a file: its hash in git, and where it is large also that of its content."""
    path, data = name.removeprefix(repo), hub.files[name]
    entry = {"type": "file", "path": path, "size": len(data)}
    if re.search(lfs, path):
        sha256 = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
        return entry | {
            "oid": _git_hash(pointer),
            "lfs": {"oid": sha256, "size": len(data), "pointerSize": len(pointer)},
        }
    return entry | {"oid": _git_hash(data)}


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 git's own


def _commit(hub: Hub, repo: str, body: bytes) -> None:
    for line in body.splitlines():
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "header":
            hub.messages.append(value["summary"])
        elif entry["key"] == "file":
            hub.files[f"{repo}/{value['path']}"] = base64.b64decode(value["content"])
        elif entry["key"] == "lfsFile":
            hub.files[f"{repo}/{value['path']}"] = hub.objects[value["oid"]]
        elif entry["key"] == "deletedFile":
            del hub.files[f"{repo}/{value['path']}"]
