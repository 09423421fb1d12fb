"""A reward model is weighed against the verifiers of the selection rule before it ranks anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.pico import environment
from tests.tiny import make_pico_classifier

pytestmark = pytest.mark.slow
NUM_PROMPTS = 24


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources with a right and a wrong answer to each sum, and two classifiers: one the other's opposite."""
    folder = tmp_path_factory.mktemp("trust")
    rows = []
    for number in range(10, 10 + NUM_PROMPTS):
        for source in ("north", "south"):
            for said in (f"It is {2 * number}.", f"It is {2 * number + 7}?"):
                asked = {"prompt": f"What is {number} plus {number}?", "reference": str(2 * number), "domain": "math"}
                rows.append(asked | {"source": source, "response": said})
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    opposed(make_pico_classifier(folder / "one"), make_pico_classifier(folder / "other"))
    return folder


def opposed(one: Path, other: Path) -> None:
    """Turn the head of `other` about: what `one` ranks first it ranks last."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(one / "model.safetensors")
    save_file(tensors | {"score.weight": -tensors["score.weight"]}, other / "model.safetensors", {"format": "pt"})


def ranked_by(workspace: Path, classifier: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fusion", "run", "experiment=replay", "replay.path=answers.jsonl", f"name={classifier}",
         "reward=[math_answer,choice_answer,literal_answer,code_tests,instruction_checks,clean_text,sequence_classifier]",
         f"rewards.sequence_classifier.model.uri={workspace / classifier}", "selection.rank_by=sequence_classifier",
         "selection.rules.math.window.high=100", *overrides],
        cwd=workspace, env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def agreement(workspace: Path, name: str) -> dict[str, object]:
    from fusion.ledger.tables import RunTables

    rows = RunTables.open(str(workspace / "runs"), name).read("trust/sequence_classifier").to_pylist()
    return next(row for row in rows if row["gate"] == "agreement")


def test_a_classifier_that_prefers_wrong_answers_stops_the_run_unless_that_is_overridden(workspace: Path) -> None:
    ended = {name: ranked_by(workspace, name) for name in ("one", "other")}
    assert sorted(one.returncode for one in ended.values()) == [0, 1], [one.stderr for one in ended.values()]
    good, bad = sorted(ended, key=lambda name: ended[name].returncode)
    passed = agreement(workspace, good)
    assert (passed["passed"], passed["measured"]) == (True, 1.0)
    assert "agreement: FAILED 0 (limit 0.6)" in ended[bad].stderr
    assert "trust.override=[agreement]" in ended[bad].stderr

    accepted = ranked_by(workspace, bad, "trust.override=[agreement]")
    assert accepted.returncode == 0, accepted.stderr
    failed = agreement(workspace, bad)
    assert (failed["passed"], failed["measured"]) == (False, 0.0)
    page = (workspace / "runs" / bad / "report.html").read_text()
    assert "a right answer is ranked above a wrong one with chance 0.000" in page
    assert "failed, overridden" in page
