"""What is published: files that other tools load, a card that says whose terms apply, and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from fusion.cli import main
from fusion.report.record import RunRecord
from fusion.run_folder import RunFolder
from tests.fusion.report.sample_run import SECRET, sample_folder
from tests.hub_server import hub_server

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "hf_" + "Token4Tests" * 3


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_folder(tmp_path_factory.mktemp("push"))


@pytest.fixture(scope="module")
def record(runs: Path) -> RunRecord:
    run = RunFolder.open(str(runs), "sample")
    return RunRecord.of(run.config_text, run.result, run.artifacts())


@pytest.fixture(scope="module")
def pushed(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("to") / "fused"
    assert call("push", "sample", "--runs", str(runs), "--to", str(folder)) == 0
    return folder


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def front(card: str) -> dict[str, object]:
    return dict(yaml.safe_load(card.split("---\n")[1]))


def test_load_dataset_loads_every_set_with_the_runs_rows(
    pushed: Path, record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, which keeps its cache in the test's folder."""
    code = (
        "import json, sys\nfrom datasets import load_dataset\n"
        "names = ('sft', 'dpo', 'responses', 'rewards', 'prompts')\n"
        "sets = {n: load_dataset(sys.argv[1], n, split='train') for n in names}\n"
        "print(json.dumps({n: [d.num_rows, sorted(d['prompt_id'])] for n, d in sets.items()}))\n"
        "print(json.dumps(load_dataset(sys.argv[1], split='train').column_names))"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(pushed)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[0])
    expected = {
        "sft": [record.sft],
        "dpo": [record.pairs],
        "prompts": [record.prompts],
        "responses": list(record.responses.values()),
        "rewards": list(record.rewards.values()),
    }
    for name, artifacts in expected.items():
        ids = sorted(key for one in artifacts for key in one.read(["prompt_id"])["prompt_id"].to_pylist())
        assert loaded[name] == [len(ids), ids], name
    assert "response" in json.loads(done.stdout.splitlines()[1]), "the SFT set is the default"


def test_a_score_finds_its_answer(pushed: Path) -> None:
    answers = pq.read_table(pushed / "responses").to_pylist()
    scores = pq.read_table(pushed / "rewards").to_pylist()
    keys = {(row["prompt_id"], row["source"], row["sample_index"]) for row in answers}
    assert {row["reward"] for row in scores} == {"answer", "clean_text", "likelihood"}
    assert {(row["prompt_id"], row["source"], row["sample_index"]) for row in scores} == keys


def test_the_card_states_licences_conflicts_counts_and_config(pushed: Path, record: RunRecord) -> None:
    card = (pushed / "README.md").read_text()
    assert front(card)["license"] == "other"
    assert [one["config_name"] for one in front(card)["configs"]] == ["sft", "dpo", "responses", "rewards", "prompts"]
    assert "| gemma3_270m | model | gemma |" in card
    assert "“Model Derivative”" in card
    assert f"| `sft` | {record.sft.accounts.rows_out} |" in card
    assert "max_new_tokens: 48" in card
    assert "no passing response" in card
    assert "hf://google/gemma-3-270m" in card


def test_no_secret_is_published(pushed: Path) -> None:
    for path in pushed.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert SECRET.encode() not in data, path
            assert b"hunter2secret" not in data, path


def test_an_empty_set_has_no_file_and_the_card_says_why(runs: Path, record: RunRecord, tmp_path: Path) -> None:
    from dataclasses import replace

    from fusion.publish.destination import LocalFolder
    from fusion.publish.push import stage

    parcels = stage(replace(record, pairs=None), tmp_path, LocalFolder(tmp_path / "to"))
    assert [one.name for one in parcels] == ["sft", "responses", "rewards", "prompts"]
    assert not (tmp_path / "dpo").exists()
    assert "No rows: `dpo`" in (tmp_path / "README.md").read_text()


def test_a_second_push_replaces_the_first_and_nothing_else(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fused"
    for _ in range(2):
        assert call("push", "sample", "--runs", str(runs), "--to", str(folder)) == 0
        (folder / "stale.parquet").write_bytes(b"of an earlier push")
    assert call("push", "sample", "--runs", str(runs), "--to", str(folder)) == 0
    assert not (folder / "stale.parquet").exists()
    capsys.readouterr()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep")
    assert call("push", "sample", "--runs", str(runs), "--to", str(tmp_path / "mine")) == 2
    assert "holds other things" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "keep"


@pytest.mark.parametrize("to", ["hf://models/me/fused", "hf://datasets/fused", "s3://bucket/fused"])
def test_a_wrong_destination_is_refused_with_the_right_form(
    runs: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("push", "sample", "--runs", str(runs), "--to", to) == 2
    assert "hf://datasets/OWNER/NAME" in capsys.readouterr().err


def push_to(
    hub_url: str, runs: Path, home: Path, *arguments: str, token: str = TOKEN
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": hub_url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}
    if token:
        environment["HF_TOKEN"] = token
    to = "hf://datasets/me/fused"
    return subprocess.run(
        [sys.executable, "-m", "fusion", "push", "sample", "--runs", str(runs), "--to", to, *arguments],
        capture_output=True, text=True, env=environment, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("lfs", [r"\.parquet$", r"^$"], ids=["large files by LFS", "all in the commit"])
def test_the_hub_gets_what_a_folder_gets(runs: Path, pushed: Path, tmp_path: Path, lfs: str) -> None:
    with hub_server(TOKEN, lfs) as hub:
        done = push_to(hub.url, runs, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert hub.repos == {"me/fused": True}, "private unless --public is typed"
        names = {path.relative_to(pushed).as_posix(): path for path in pushed.rglob("*") if path.is_file()}
        assert hub.files.keys() == {f"me/fused/{name}" for name in names}
        for name, path in names.items():
            if path.suffix == ".parquet":
                assert hub.files[f"me/fused/{name}"] == path.read_bytes()
        assert b'load_dataset("me/fused", "dpo"' in hub.files["me/fused/README.md"]
        assert hub.messages == ["fusion run sample"]
        assert "me/fused/commit/" in done.stdout


def test_what_somebodys_terms_forbid_is_not_made_public_by_accident(tmp_path: Path) -> None:
    runs = sample_folder(tmp_path)
    config = runs / "sample" / "config.yaml"
    config.write_text(config.read_text().replace("licence: gemma", "licence: mrl"))
    with hub_server(TOKEN) as hub:
        refused = push_to(hub.url, runs, tmp_path, "--public")
        assert refused.returncode == 2
        assert "Mistral AI Research License (gemma3_270m)" in refused.stderr
        assert "--accept-conflicts" in refused.stderr
        assert hub.files == {}
        done = push_to(hub.url, runs, tmp_path, "--public", "--accept-conflicts")
        assert done.returncode == 0, done.stderr
        assert hub.repos == {"me/fused": False}
        assert b"Conflict: Mistral AI Research License" in hub.files["me/fused/README.md"]


def test_a_refusal_of_the_hub_is_told_without_the_token(runs: Path, tmp_path: Path) -> None:
    with hub_server("another token") as hub:
        done = push_to(hub.url, runs, tmp_path)
    assert done.returncode == 1
    assert "the hub did not take me/fused" in done.stderr
    assert "401" in done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_without_a_token_nothing_is_asked_of_the_hub(runs: Path, tmp_path: Path) -> None:
    with hub_server(TOKEN) as hub:
        done = push_to(hub.url, runs, tmp_path, token="")
        assert done.returncode == 2
        assert "HF_TOKEN" in done.stderr
        assert hub.asked == []
