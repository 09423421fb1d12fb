"""Bad input and bad luck, as a person at the command line meets them: what, where, what to type; nothing is lost.

Unknown keys, malformed files and the like, which are refused before anything starts, are in test_cli.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion.cli import main
from tests.end_to_end.pico import make_workspace, result, rows, write_prompts
from tests.small_disk import small_disk
from tests.tiny import make_pico_llama

NUM_PROMPTS, NUM_ANSWERS = 6, 18
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("pico"), NUM_PROMPTS)


@pytest.fixture
def run(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """A run without training in this process, in an empty folder; returns exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def started(*overrides: str, cluster: str = "in_process", verb: str = "run") -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main([verb, "--config-dir", str(workspace / "conf"), "experiment=pico", "recipe=replay",
                  f"cluster={cluster}", *overrides])  # fmt: skip
        return int(ended.value.code or 0), "".join(capfd.readouterr())

    return started


def stored(folder: Path) -> dict[str, bytes]:
    """Every committed part."""
    return {str(path): path.read_bytes() for path in folder.glob("store/*/*/parts/*.parquet")}


def test_empty_and_repeated_prompts_are_dropped_with_their_reasons(run: Run, tmp_path: Path) -> None:
    write_prompts(tmp_path / "p.jsonl", 2)
    lines = (tmp_path / "p.jsonl").read_text().splitlines()
    (tmp_path / "p.jsonl").write_text("\n".join([*lines, lines[0], '{"prompt": "  "}']) + "\n")
    code, said = run(f"prompts.path={tmp_path}/p.jsonl")
    assert code == 0, said
    assert "4 in = 2 out + 1 duplicate_prompt + 1 empty_prompt" in said
    assert {row["reason"] for row in rows(tmp_path, "drops")} >= {"duplicate_prompt", "empty_prompt"}


def test_prompts_over_the_context_are_dropped_and_the_others_go_on(run: Run, tmp_path: Path) -> None:
    write_prompts(tmp_path / "p.jsonl", 2)
    with open(tmp_path / "p.jsonl", "a") as file:
        file.write(json.dumps({"prompt": "word " * 80, "reference": "1"}) + "\n")  # 400 tokens; the context has 256
    code, said = run(f"prompts.path={tmp_path}/p.jsonl")
    assert code == 0, said
    assert len(rows(tmp_path, "responses")) == 2 * 2 * 3
    dropped = [row for row in rows(tmp_path, "drops") if row["reason"] == "prompt_too_long"]
    assert len(dropped) == 2 * 3
    assert all("256" in str(row["detail"]) for row in dropped)


def test_a_model_folder_that_went_away_is_named_and_what_it_answered_stays(
    run: Run, workspace: Path, tmp_path: Path
) -> None:
    shutil.copytree(workspace / "models" / "pico_a", tmp_path / "moved")
    here = f"sources.pico_a.model.uri={tmp_path}/moved"
    assert run(here)[0] == 0
    before = stored(tmp_path)
    (tmp_path / "moved").rename(tmp_path / "away")
    code, said = run(here)
    assert code == 2
    assert f"sources.pico_a.model: model folder {tmp_path}/moved does not exist; set model.uri" in said
    assert stored(tmp_path) == before
    code, said = run(f"sources.pico_a.model.uri={tmp_path}/away")
    assert code == 0, said
    assert {step["status"] for step in result(tmp_path)["steps"]} == {"HIT"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", ["sources.pico_a.model", "target.model"])
def test_a_model_without_chat_template_is_refused_before_anything_starts(run: Run, tmp_path: Path, key: str) -> None:
    make_pico_llama(tmp_path / "mute", chat_template=None)
    code, said = run(f"{key}.uri={tmp_path}/mute")
    assert code == 2, said
    assert f"{key}: {tmp_path}/mute has no chat template; set chat.template" in said
    assert not (tmp_path / "store").exists()
    template = "'{% for m in messages %}{{ m.content }}{% endfor %}'"
    assert run(f"{key}.uri={tmp_path}/mute", f"{key}.chat.template={template}", verb="plan")[0] == 0


def test_a_full_disk_keeps_what_is_committed_and_room_is_all_it_takes(run: Run, tmp_path: Path) -> None:
    with small_disk(tmp_path / "store", 96 * 2**10) as disk:
        code, said = run()
        assert code == 1, said
        assert f"no space is left on the disk of {tmp_path}/store" in said
        assert "set store.path to a folder on another disk" in said
        before = stored(tmp_path)
        assert before
        disk.grow(2**25)
        code, said = run()
        assert code == 0, said
        assert before.items() <= stored(tmp_path).items()
        assert len(rows(tmp_path, "responses")) == 2 * NUM_ANSWERS


def test_a_full_disk_under_the_run_folder_is_named(run: Run, tmp_path: Path) -> None:
    with small_disk(tmp_path / "runs", 4096):
        (tmp_path / "runs" / "filler").write_bytes(b"x" * 4096)
        code, said = run()
        assert code == 1, said
        assert "no space is left on the disk of" in said
        assert "Traceback" not in said


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("runs=afile", ["afile is a file", "type runs=FOLDER"]),
        ("store.path=afile/store", ["afile is a file", "type store.path=FOLDER"]),
        ("store.path=/proc/x", ["store.path is /proc/x, which cannot be written to", "type store.path=FOLDER"]),
        ("runs=/proc/x", ["/proc/x", "type runs=FOLDER"]),
    ],
)
def test_a_folder_that_cannot_be_is_refused_before_anything_starts(
    run: Run, tmp_path: Path, override: str, words: list[str]
) -> None:
    (tmp_path / "afile").write_text("kept")
    code, said = run(override)
    assert code == 2, said
    for word in words:
        assert word in said
    assert (tmp_path / "afile").read_text() == "kept"
    assert not list(tmp_path.glob("store/*"))


def test_a_corrupt_part_is_seen_by_the_plan_and_only_its_rows_are_made_again(run: Run, tmp_path: Path) -> None:
    small_parts = "cluster.pools.responses.part_rows=2"
    assert run(small_parts)[0] == 0
    before, answers = stored(tmp_path), rows(tmp_path, "responses")
    victim = sorted(tmp_path.glob("store/responses/pico_a-*/parts/*.parquet"))[0]
    victim.write_bytes(victim.read_bytes()[:-9])
    code, said = run(verb="plan")
    assert code == 0
    assert "RESUME" in said
    code, said = run(small_parts)
    assert code == 0, said
    del before[str(victim)]
    assert before.items() <= stored(tmp_path).items()
    assert len(rows(tmp_path, "responses")) == len(answers)
    status = {f"{s['kind']}/{s['label']}": s["status"] for s in result(tmp_path)["steps"]}  # type: ignore[attr-defined]
    assert status["responses/pico_a"] == "RESUME"
    assert status["responses/pico_b"] == "HIT"


def test_a_ray_head_that_is_not_there_is_named_with_what_to_type(run: Run, tmp_path: Path) -> None:
    code, said = run("cluster.ray.address=127.0.0.1:9", cluster="laptop")
    assert code in (1, 2)
    assert "cluster.ray.address is 127.0.0.1:9, but nobody answers" in said
    assert "ray start --head" in said
    assert not list(tmp_path.glob("store/responses/*/parts"))


def test_an_endpoint_where_nobody_listens_is_named(run: Run, tmp_path: Path) -> None:
    code, said = run(
        "generator=openai_endpoint", "generator.endpoint.url=http://127.0.0.1:9/v1", "generator.endpoint.model=m",
        "generator.endpoint.retry_s=0",
    )  # fmt: skip
    assert code == 1, said
    assert "http://127.0.0.1:9/v1" in said
    assert not rows_committed(tmp_path)


def rows_committed(folder: Path) -> list[Path]:
    return list(folder.glob("store/responses/*/parts/*.parquet"))
