"""A data set that the hub has in parts, read through a small hub on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from fusion.config import composed, typed
from tests.hub_server import hub_server

REPO = "edinburgh-dawg/mmlu-redux-2.0"
TOKEN = "hf_" + "Token4Tests" * 3
READ = """
import json, sys
from fusion.config import composed, typed
data = typed(composed(sys.argv[1:])).benchmarks["mmlu_redux"].data
rows = [(prompt.key, prompt.domain, prompt.reference) for prompt in data.read()]
print(json.dumps({"rows": rows, "content": data.copy().content}))
"""
ROWS = {
    subject: [
        {"question": f"{subject} {n}?", "choices": list("wxyz"), "answer": n, "error_type": ("OK", "ok", "bad")[n]}
        for n in range(3)
    ]
    for subject in ("anatomy", "astronomy", "virology")
}
"""As on the hub: no column names the subject."""


def arrow(rows: list[dict[str, object]]) -> bytes:
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()


def card() -> bytes:
    parts = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}/data-*\n" for name in ROWS
    )
    return f"---\nconfigs:\n{parts}---\n".encode()


def read_at(url: str, home: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    """The items of MMLU-Redux as its yaml has them."""
    usual = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    own = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"}
    root = str(Path(__file__).resolve().parents[3])
    chosen = ["experiment=eval", "benchmark=[mmlu_redux]", "cluster=in_process"]
    chosen.append(f"benchmarks.mmlu_redux.data.revision={'a' * 40}")
    return subprocess.run(
        [sys.executable, "-c", READ, *chosen, *overrides],
        capture_output=True, text=True, env={**usual, **own, "PYTHONPATH": root}, timeout=120, check=False,
    )  # fmt: skip


def test_every_subject_of_mmlu_redux_is_read_and_named_as_a_copy_in_one_file_names_it(tmp_path: Path) -> None:
    wanted = f"benchmarks.mmlu_redux.data.subsets=[{','.join(ROWS)}]"
    with hub_server(TOKEN) as hub:
        hub.files[f"{REPO}/README.md"] = card()
        for subject, rows in ROWS.items():
            hub.files[f"{REPO}/{subject}/data-00000-of-00001.arrow"] = arrow(rows)
        done = read_at(hub.url, tmp_path / "home", wanted)
        assert done.returncode == 0, done.stderr
        missing = read_at(hub.url, tmp_path / "home", "benchmarks.mmlu_redux.data.subsets=[anatomy,astrology]")
    found = json.loads(done.stdout.splitlines()[-1])
    assert [(key, domain, json.loads(reference)["answer"]) for key, domain, reference in found["rows"]] == [
        ("anatomy: anatomy 0? w / x / y / z", "anatomy", "A"),
        ("anatomy: anatomy 1? w / x / y / z", "anatomy", "B"),
        ("astronomy: astronomy 0? w / x / y / z", "astronomy", "A"),
        ("astronomy: astronomy 1? w / x / y / z", "astronomy", "B"),
        ("virology: virology 0? w / x / y / z", "virology", "A"),
        ("virology: virology 1? w / x / y / z", "virology", "B"),
    ]
    assert found["content"] == content_of_a_copy(tmp_path)
    assert "subset astrology, split test, cannot be loaded" in missing.stderr


def content_of_a_copy(folder: Path) -> str:
    """The same rows in one file, which names the subjects."""
    lines = [json.dumps({"subject": subject, **row}) for subject, rows in ROWS.items() for row in rows]
    (folder / "mmlu_redux.jsonl").write_text("\n".join(lines))
    tree = composed(["experiment=eval", "benchmark=[mmlu_redux]", "cluster=in_process", f"data={folder}"])
    return typed(tree).benchmarks["mmlu_redux"].data.copy().content
