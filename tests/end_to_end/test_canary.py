"""An API key that a run uses is in none of its outputs, though the server repeats it in every refusal."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.pico import command, environment, make_workspace, result
from tests.endpoint_server import Body, Fault, Server, completion, serving

pytestmark = pytest.mark.slow
KEY = "sk-C4n4ryOfTheEndpoint0123456789abcdef"
VARIABLE = "FUSION_TEST_KEY"


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fk", dir="/tmp"))  # short: Ray's sockets lie in it
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def answer(path: str, body: Body) -> Body:
    return completion(
        f"The answer to {sum(body['prompt'])} is {body['seed'] % 100}.", prompt_tokens=len(body["prompt"])
    )


def refusal(status: int) -> Fault:
    """In the words of a service that tells which key was wrong."""
    return Fault(status=status, message=f"Incorrect API key provided: {KEY}. Bearer {KEY} is {KEY}")


def run(workspace: Path, server: Server, ray_folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    generator = (
        "generator=openai_endpoint", f"generator.endpoint.url={server.url}", "generator.endpoint.model=m",
        "generator.endpoint.retry_s=5", "recipe=replay", "max_failed_frac=1", f"cluster.ray.temp_dir={ray_folder}",
    )  # fmt: skip
    return subprocess.run(
        command(workspace, *generator, *overrides), cwd=workspace, env=environment() | {VARIABLE: KEY},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def text_of(path: Path) -> bytes:
    """Its content; of a table its values, which are compressed in the file."""
    data = path.read_bytes()
    return data + (str(pq.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else b"")


def test_a_key_that_is_used_and_repeated_by_the_server_is_in_no_output(tmp_path: Path, ray_folder: Path) -> None:
    """A run that is refused as a whole, with the key from the environment, and one with refused rows, from a file."""
    workspace = make_workspace(tmp_path / "w", 8)
    secret = tmp_path / "secret"
    secret.write_text(KEY + "\n")
    with serving(answer) as server:
        server.always = lambda body: refusal(401)
        refused = run(workspace, server, ray_folder, f"generator.endpoint.key_env={VARIABLE}")
        server.always = lambda body: refusal(400) if body["seed"] % 5 == 0 else None
        server.faults.extend([refusal(429), refusal(500)])
        done = run(workspace, server, ray_folder, f"generator.endpoint.key_file={secret}")
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    assert refused.returncode in (1, 2)
    assert "Incorrect API key provided: ********" in refused.stdout + refused.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    steps: list[dict[str, dict[str, int]]] = result(workspace)["steps"]  # type: ignore[assignment]
    assert sum(step["failed"].get("request_failed", 0) for step in steps)
    files = [path for path in (*workspace.rglob("*"), *ray_folder.rglob("*")) if path.is_file()]
    texts = {str(path): text_of(path) for path in files if not path.is_symlink()}
    assert {Path(name).name for name in texts} >= {"config.yaml", "result.json", "report.html", "log.txt"}
    assert any(b"Incorrect API key provided: ********" in text for name, text in texts.items() if "/drops/" in name)
    texts |= {"terminal": (refused.stdout + refused.stderr + done.stdout + done.stderr).encode()}
    assert [name for name, text in texts.items() if KEY.encode() in text] == []
