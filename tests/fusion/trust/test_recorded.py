"""Scores that came with answers pass the gates too, where rows are ranked by them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion.cli import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """A replay of 24 choices; `fond` prefers wrong answers, and those of `north`, which are no better than others."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(24):
        for source in ("north", "south"):
            for letter in ("A", "B"):
                scores = {"fond": (source == "north") + (letter == "A"), "fair": float(letter == "B")}
                rows.append(
                    {"prompt": f"Question {number}: A or B?", "reference": "B", "domain": "quiz", "source": source,
                     "response": f"The answer is ({letter}).", "rewards": scores}
                )  # fmt: skip
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def started(*overrides: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["run", "experiment=replay", "replay.path=answers.jsonl", "reward=[choice_answer,clean_text]",
                  *overrides])  # fmt: skip
        return int(ended.value.code or 0), "".join(capfd.readouterr())

    return started


def test_a_recorded_reward_that_ranks_is_stopped_by_its_gates_unless_they_are_overridden(run: Run) -> None:
    code, said = run("selection.rank_by=fond")
    assert code == 1
    assert "reward fond is not to be trusted: favouritism: FAILED" in said
    assert "trust.override=[favouritism,agreement]" in said
    code, said = run("selection.rank_by=fond", "trust.override=[favouritism,agreement]")
    assert code == 0, said


def test_one_that_ranks_nothing_stops_nothing(run: Run) -> None:
    code, said = run("selection.rank_by=fair")
    assert code == 0, said
    assert "trust/fair" in said
    assert "trust/fond" not in said
