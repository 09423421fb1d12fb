"""The README's commands are typed as they stand: plans and looks are run, runs are composed, targets exist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fusion import registry
from fusion.cli import COMMANDS, main
from tests import tree_doc

ROOT = Path(__file__).resolve().parents[1]
LINES = [line.strip() for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("    ")]
FUSION = [line.split()[1:] for line in LINES if line.startswith("fusion ")]
TARGETS = [line.split()[1] for line in LINES if line.startswith("make ")]


def test_there_are_commands_to_test() -> None:
    assert len(FUSION) > 6
    assert len(TARGETS) > 3


@pytest.mark.parametrize("words", FUSION, ids=" ".join)
def test_a_command_is_one_that_exists(words: list[str]) -> None:
    assert words[0] in COMMANDS


@pytest.mark.parametrize("words", [w for w in FUSION if w[0] in ("plan", "run")], ids=" ".join)
def test_a_plan_or_run_composes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = {"prompt": "1 + 1?", "source": "a", "response": "2", "reference": "2", "domain": "math"}
    (tmp_path / "answers.jsonl").write_text(json.dumps(answer) + "\n")
    settings = [word for word in words[1:] if word not in ("-m", "--cfg", "job")]
    settings = [re.sub(r"=([^,\[\]]+),.*", r"=\1", setting) for setting in settings]  # one value of a sweep
    with pytest.raises(SystemExit) as ended:
        main(["plan", *settings])
    assert ended.value.code == 0
    assert ("pairs/train" if "experiment=replay" in words else "checkpoint/final") in capsys.readouterr().out


@pytest.mark.parametrize("target", TARGETS)
def test_a_make_target_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_list_of_every_file_is_current_and_says_what_each_is() -> None:
    assert tree_doc.DOC.read_text("utf-8") == tree_doc.tree(), "type make tree"
    shipped = [path for room in tree_doc.ROOMS if room != "tests" for path in tree_doc.files(ROOT / room)]
    assert [str(path) for path in shipped if not tree_doc.clause(path)] == []
    assert [name for name in tree_doc.MUTE if not (ROOT / name).exists()] == []


def test_files_that_are_named_exist() -> None:
    text = (ROOT / "README.md").read_text()
    named = re.findall(r"`((?:fusion|tests|conf|docs)/[\w/]+\.(?:py|yaml|png))`", text) + re.findall(
        r"\]\((docs/.*?)\)", text
    )
    invented = {"conf/source/qwen25_72b.yaml", "fusion/rewards/brevity.py"}
    assert named
    assert [name for name in named if name not in invented and not (ROOT / name).exists()] == []


def test_every_objective_and_merge_method_stands_in_the_family_table() -> None:
    text = (ROOT / "README.md").read_text()
    table = text[text.index("## The family") : text.index("Experiments: ")]
    known = [*registry.plugins("objective"), *registry.plugins("merge")]
    assert [name for name in known if name not in table] == []
