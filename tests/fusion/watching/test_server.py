"""The live page over real HTTP, by a plain client and in a browser where there is one."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.watching.server import PageServer
from fusion.watching.view import View, view_of
from tests.fusion.watching.test_recorder import ROOT
from tests.fusion.watching.test_view import running, step

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Shown:
    """What the page is to show; tests change it while it is served."""

    def __init__(self) -> None:
        steps = [
            step(status="running", began=1000.0, done=120, total=480, moved=1090.0, rate=3.0),
            step(name="sft/<b>"),
        ]
        self.view = view_of(running(steps=steps, notices=[(1090.0, "waiting: host (pid 7)")]), 1100.0)
        self.is_gone = False

    def __call__(self) -> View:
        if self.is_gone:
            raise ConfigError("runs/toy holds no run")
        return self.view


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def server(shown: Shown) -> Iterator[PageServer]:
    with PageServer(shown, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server: PageServer, path: str, host: str = "") -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_the_state_is_what_the_terminal_shows(server: PageServer, shown: Shown) -> None:
    code, content, _ = ask(server, "/state.json")
    told = json.loads(content)
    assert code == 200
    assert (told["run"], told["headline"]) == ("toy", shown.view.headline)
    assert told["rows"][0] == {
        "name": "responses/a", "status": "running", "share": 0.25, "count": "120/480",
        "detail": "3/s, 2 min left, for 2 min",
    }  # fmt: skip


def test_the_page_asks_for_nothing_from_elsewhere(server: PageServer) -> None:
    pieces = [ask(server, path) for path in ("/", "/page.css", "/page.js")]
    assert [code for code, _, _ in pieces] == [200, 200, 200]
    text = b"".join(content for _, content, _ in pieces).decode()
    assert not re.search(r"https?:|//[a-z]", re.sub(r"// .*", "", text))
    assert all("default-src 'none'" in headers["Content-Security-Policy"] for _, _, headers in pieces)


def test_a_foreign_name_that_points_here_reads_nothing(server: PageServer) -> None:
    assert ask(server, "/state.json", host="evil.example:80")[0] == 403
    assert ask(server, "/state.json", host=f"localhost:{server.server_port}")[0] == 200
    assert ask(server, "/state.json", host="[::1]:80")[0] == 200


def test_other_paths_lead_nowhere(server: PageServer) -> None:
    assert ask(server, "/../../../etc/passwd")[0] == 404
    assert ask(server, "/server.py")[0] == 404


def test_a_run_that_was_removed_is_told(server: PageServer, shown: Shown) -> None:
    shown.is_gone = True
    code, content, _ = ask(server, "/state.json")
    assert (code, content) == (410, b"runs/toy holds no run")


def test_a_port_in_use_is_refused(server: PageServer, shown: Shown) -> None:
    with pytest.raises(ConfigError, match="type another port"):
        PageServer(shown, "127.0.0.1", server.server_port)


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_a_browser_shows_it(server: PageServer, shown: Shown, tmp_path: Path) -> None:
    shown.view = replace(shown.view, advice="type: fusion run <script>x</script>")
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=3000", "--dump-dom", server.url,
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>toy: running</title>" in dom
    assert shown.view.headline in dom
    assert '<progress value="0.25">' in dom
    assert "sft/&lt;b&gt;" in dom  # a name is text
    assert "&lt;script&gt;x" in dom
    assert "waiting: host (pid 7)" in dom


def test_it_is_served_as_it_is_typed(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "old"
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps({"experiment": "old", "steps": []}))
    process = subprocess.Popen(
        [sys.executable, "-m", "fusion", "status", "old", "--serve", "0"], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "this machine only" in line
        url = line.split()[0]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url + "state.json", timeout=10) as answer:  # noqa: S310
            assert json.load(answer)["verdict"] == "done"
        (folder / "state.json").write_text(
            (folder / "result.json").read_text()
        )  # torn, foreign: the result still holds
        time.sleep(0.1)
        with urllib.request.urlopen(url + "state.json", timeout=10) as answer:  # noqa: S310
            assert json.load(answer)["run"] == "old"
    finally:
        process.kill()
        process.wait()
