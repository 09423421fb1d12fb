import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fusion.report.build import build

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--hide-scrollbars", "--enable-logging=stderr"),
]

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome on the path")


def browse(tmp_path: Path, page: str, *arguments: str) -> subprocess.CompletedProcess:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


def test_the_report_loads_without_console_messages(record, tmp_path):
    done = browse(tmp_path, build(record), "--dump-dom")
    assert re.findall(r".*CONSOLE.*", done.stderr) == []
    assert done.stdout.count("<section") == 12
    assert done.stdout.count("<svg") >= 13


def test_the_browser_sees_no_script_or_image_of_a_model(record, tmp_path):
    dom = browse(tmp_path, build(record), "--dump-dom").stdout
    assert re.findall(r"<(script|img|iframe|object)\b", dom) == []


@pytest.mark.parametrize("width", [1280, 500])
def test_nothing_is_wider_than_the_page(record, tmp_path, width):
    """A page that scrolls sideways says so in its title; the policy is taken out so that the probe may run."""
    probe = (
        "<script>addEventListener('load', () => { const d = document.documentElement;"
        "document.title = 'wide by ' + Math.max(0, d.scrollWidth - d.clientWidth); })</script></body>"
    )
    page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", build(record)).replace("</body>", probe)
    dom = browse(tmp_path, page, f"--window-size={width},900", "--virtual-time-budget=2000", "--dump-dom").stdout
    assert "<title>wide by 0</title>" in dom


def test_a_console_message_would_be_seen(tmp_path):
    """The check above can fail: a page with an error has one."""
    done = browse(tmp_path, "<body><script>missing()</script>", "--dump-dom")
    assert "missing is not defined" in done.stderr
