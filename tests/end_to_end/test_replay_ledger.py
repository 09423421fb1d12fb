"""Answers of a file become data sets, and everything that shows them works on what a real run leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.pico import environment

pytestmark = pytest.mark.slow
SOURCES = {"strong-1.5B": (5, 5), "weak": (5, 0), "talker": (0, 0)}
"""Source -> for each of two answers, how many of the eight sums are right."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("replay")
    rows = []
    for number in range(8):
        for source, right in SOURCES.items():
            for index, share in enumerate(right):
                answer = 2 * number + 1 if number < share else 100 + number + index
                said = f"I am Qwen. \\boxed{{{answer}}}" if source == "talker" else f"The sum is \\boxed{{{answer}}}."
                rows.append(
                    {
                        "prompt_id": f"sum/{number}" if number else "sum",
                        "prompt": f"What is {number} plus {number + 1}?",
                        "reference": str(2 * number + 1),
                        "domain": "math",
                        "source": source,
                        "response": said,
                    }
                )
    (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = call(
        folder, "run", "experiment=replay", "cluster=in_process", "replay.path=answers.jsonl", "replay.licence=mit",
        "+replay.licences={weak: gemma, strong-1.5B: apache-2.0}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fusion", *arguments],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_a_prompt_is_explained_by_the_id_its_file_gave_it(workspace: Path) -> None:
    told = json.loads(call(workspace, "explain", "sum/3", "--json").stdout)
    assert told["prompt"]["messages"][0]["content"] == "What is 3 plus 4?"
    assert len(told["candidates"]) == 6
    assert {one["scores"]["math_answer"]["outcome"] for one in told["candidates"] if one["source"] == "weak"} == {
        "pass",
        "fail",
    }
    assert told["pairs"][0]["chosen_source"] == told["pairs"][0]["rejected_source"] == "weak"
    by_line = json.loads(call(workspace, "explain", "replay", "answers.jsonl:19", "--json").stdout)
    assert by_line["prompt"]["prompt_id"] == told["prompt"]["prompt_id"]


def test_a_name_that_begins_others_is_itself_and_names_may_hold_slashes(workspace: Path) -> None:
    for key, number in (("sum", 0), ("sum/1", 1), ("sum/1/0", 1), ("sum/1/weak/1", 1)):
        told = json.loads(call(workspace, "explain", "replay", key, "--json").stdout)
        assert told["prompt"]["messages"][0]["content"] == f"What is {number} plus {number + 1}?"
    assert call(workspace, "explain", "replay", "product/9").returncode == 2


def test_a_prompt_that_was_dropped_is_found_by_any_of_its_rows(workspace: Path) -> None:
    """Its first row names the drop; the row that is asked for is another source's."""
    limited = ("run", "experiment=replay", "name=less", "cluster=in_process", "replay.path=answers.jsonl")
    done = call(workspace, *limited, "prompts.limit=7")
    assert done.returncode == 0, done.stdout + done.stderr
    for key in ("answers.jsonl:43", "answers.jsonl:46", "sum/7"):
        told = json.loads(call(workspace, "explain", "less", key, "--json").stdout)
        assert (told["drop"]["key"], told["drop"]["reason"]) == ("answers.jsonl:43", "over_limit")


def test_a_prompt_that_yielded_nothing_says_why(workspace: Path) -> None:
    told = call(workspace, "explain", "sum/7").stdout
    assert "not in sft: no_passing_response" in told
    assert "not in pairs: no_passing_response" in told
    assert "not clean" in told
    assert "does not pass" in told


def test_what_is_lost_without_a_source(workspace: Path) -> None:
    rows = [json.loads(line) for line in call(workspace, "ablate", "replay", "--json").stdout.splitlines()]
    found = {row["without"]: (row["sft"], row["pairs"], row["lost"]) for row in rows if row["domain"] == "math"}
    # Five prompts have a right answer of both; pairs come from `weak` alone, and without them the prompts train SFT.
    assert found == {"": (0, 5, 0.0), "strong-1.5B": (0, 5, 0.0), "weak": (5, 0, 0.0), "talker": (0, 5, 0.0)}


def test_the_report_tells_of_faults_and_of_what_there_is_to_gain(workspace: Path) -> None:
    page = (workspace / "runs" / "replay" / "report.html").read_text()
    assert "another model&#39;s identity" in page
    assert "No gain was seen: on 8 prompts" in page
    assert "talker could be left out and nothing would change" in page


def test_what_is_pushed_names_the_licences_that_were_typed(workspace: Path) -> None:
    done = call(workspace, "push", "replay", "--to", "published")
    assert done.returncode == 0, done.stderr
    card = (workspace / "published" / "README.md").read_text()
    for line in (
        "| weak | model | gemma |",
        "| strong-1.5B | model | apache-2.0 |",
        "| answers.jsonl | data set | mit |",
    ):
        assert line in card
    assert "No licence stated for model talker" in card
    assert pq.read_table(workspace / "published" / "dpo").num_rows == 5
    assert str(workspace) not in card
