"""Answers that exist become data sets, with one command and no engine: the documented columns and nothing else."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tiny import make_tokenizer

ROOT = Path(__file__).resolve().parents[2]
ADD = 'def add(a, b):\n    """The sum of a and b."""\n'
CHECK = "def check(candidate):\n    assert candidate(2, 3) == 5\n"
RULES = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}

PROMPTS: dict[str, dict[str, Any]] = {
    # prompt_id -> prompt, domain, reference, and one answer of each of two sources: right, wrong
    "m/1": {"prompt": "What is 3 + 4?", "domain": "math", "reference": "7", "answers": ("It is 7.", "It is 8.")},
    "m2": {"prompt": "Half of one?", "domain": "MATH-500", "reference": r"\frac{1}{2}", "answers": ("$0.5$", "$2$")},
    "unnamed": {"prompt": "What is 9 + 4?", "domain": None, "reference": "13", "answers": ("It is 13.", "It is 14.")},
    "c1": {
        "prompt": ADD, "domain": "code", "reference": json.dumps({"tests": CHECK, "entry_point": "add"}),
        "answers": ("    return a + b\n", "    return a - b\n"),
    },
    "c2": {
        "prompt": "Write `double`.", "domain": "coding",
        "reference": '["assert double(2) == 4", "assert double(0) == 0"]',
        "answers": ("```python\ndef double(n): return 2 * n\n```", "```python\ndef double(n): return n\n```"),
    },
    "c3": {
        "prompt": "Write a function that halves a number.", "domain": "code",
        "reference": "assert half(4) == 2\nassert half(2) == 1",
        "answers": ("def half(n): return n // 2", "def half(n): return n"),
    },
    "p1": {
        "prompt": "What does f print?", "domain": "crux", "reference": "['a', 1]",
        "answers": ('{"answer": "[\'a\', 1]"}', '{"answer": "(\'a\', 1)"}'),
    },
    "k1": {
        "prompt": "Which is a mammal? A. trout B. whale", "domain": "mmlu", "reference": "B",
        "answers": ("The answer is (B).", "The answer is (A)."),
    },
    "i1": {
        "prompt": "Greet me without a comma.", "domain": "instruction", "reference": json.dumps(RULES),
        "answers": ("Good morning to you", "Hello, you"),
    },
    "o1": {
        "prompt": "Tell me of the sea.", "domain": "chat", "reference": None, "rewards": (0.15, 0.10),
        "answers": ("The sea is wide and salt.", "Sea."),
    },
}  # fmt: skip
VERIFIABLE = set(PROMPTS) - {"o1"}


def rows(prompts: Mapping[str, Mapping[str, Any]] = PROMPTS) -> list[dict[str, Any]]:
    """The documented columns, all of them, in every row."""
    made = []
    for name, prompt in prompts.items():
        for order, source in enumerate(("north", "south")):
            rewards = prompt.get("rewards")
            made.append(
                {
                    "prompt": prompt["prompt"],
                    "source": source,
                    "response": prompt["answers"][order],
                    "prompt_id": name,
                    "sample_index": 0,
                    "domain": prompt["domain"],
                    "reference": prompt["reference"],
                    "rewards": {"armorm": rewards[order]} if rewards else None,
                }
            )
    return made


def replay(
    folder: Path, answers: Sequence[Mapping[str, Any]], *overrides: str, file: str = "answers.jsonl"
) -> subprocess.CompletedProcess[str]:
    path = folder / file
    lines = "".join(json.dumps(row) + "\n" for row in answers)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(answers)), path)
    else:
        path.write_bytes(gzip.compress(lines.encode()) if path.suffix == ".gz" else lines.encode())
    command = [sys.executable, "-m", "fusion", "run", "experiment=replay", f"replay.path={path}", *overrides]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def choices(count: int = 3, talk: Sequence[Mapping[str, str]] = ()) -> list[dict[str, Any]]:
    """Two answers of one source to each prompt, the wrong one longer; `talk` comes before the question."""
    asked = [f"Question {number}: A or B?" for number in range(count)]
    prompts = [{"messages": [*talk, {"role": "user", "content": one}]} if talk else {"prompt": one} for one in asked]
    said = ("The answer is (B).", "After long thought about every side of it, the answer is (A).")
    common = {"source": "north", "domain": "quiz", "reference": "B"}
    return [prompt | common | {"response": one} for prompt in prompts for one in said]


def table(folder: Path, kind: str) -> list[dict[str, Any]]:
    return list(pq.read_table(folder / "runs" / "replay" / "data" / kind).to_pylist())


def outcomes(scores: Sequence[Mapping[str, Any]]) -> set[str]:
    """What verifiers said of an answer; hygiene is another matter."""
    return {one["outcome"] for one in scores if one["reward"] != "clean_text"} - {"not_applicable"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("replay")
    ran = replay(folder, rows())
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder, ran.stdout


def test_every_sft_row_passes_and_keeps_the_name_of_its_prompt(done: tuple[Path, str]) -> None:
    folder, _ = done
    sft = {row["prompt_id"]: row for row in table(folder, "sft")}
    assert set(sft) == set(PROMPTS)
    for name, row in sft.items():
        assert row["response"] == PROMPTS[name]["answers"][0], name
        assert row["messages"] == [{"role": "user", "content": PROMPTS[name]["prompt"]}]
        assert outcomes(row["rewards"]) == ({"pass"} if name in VERIFIABLE else set()), name


def test_one_answer_a_source_makes_no_pair_and_says_why(done: tuple[Path, str]) -> None:
    folder, said = done
    assert table(folder, "pairs") == []
    assert "10 prompts make no pair" in said
    assert "selection.pair_policy=cross_source" in said
    drops = [row for row in table(folder, "drops") if row["reason"] == "no_same_source_pair"]
    assert {row["key"] for row in drops} == set(PROMPTS)
    assert all("pair_policy" in row["detail"] for row in drops)


def test_accounts_add_up_and_every_table_can_be_read(done: tuple[Path, str]) -> None:
    folder, _ = done
    for step in json.loads((folder / "runs" / "replay" / "result.json").read_text())["steps"]:
        lost = sum(step["dropped"].values()) + sum(step["failed"].values())
        assert step["rows_in"] == step["rows_out"] + lost, step
    assert len(table(folder, "prompts")) == 10
    assert len(table(folder, "responses")) == 20
    assert {row["outcome"] for row in table(folder, "rewards")} <= {"pass", "fail", "not_applicable"}


@pytest.mark.parametrize("policy", ["cross_source", "all"])
def test_pairs_of_two_sources_are_pass_against_fail(done: tuple[Path, str], policy: str) -> None:
    folder, _ = done
    ran = replay(folder, rows(), f"selection.pair_policy={policy}", "selection.source_pair=all", f"runs=runs_{policy}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    pairs = list(pq.read_table(folder / f"runs_{policy}" / "replay" / "data" / "pairs").to_pylist())
    assert {row["prompt_id"] for row in pairs} | {"i1", "o1"} == set(PROMPTS)  # of two instructions 4:6 train SFT
    for row in pairs:
        assert (row["chosen_source"], row["rejected_source"]) == ("north", "south")
        if row["prompt_id"] in VERIFIABLE:
            assert outcomes(row["chosen_rewards"]) == {"pass"}
            assert outcomes(row["rejected_rewards"]) == {"fail"}


FIRST = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Ready?"},
         {"role": "assistant", "content": "Yes."})  # fmt: skip


@pytest.mark.parametrize("talk", [(), FIRST], ids=["prompt", "messages"])
@pytest.mark.parametrize("file", ["answers.jsonl.gz", "answers.parquet"])
def test_any_documented_file_becomes_rows(tmp_path: Path, file: str, talk: Sequence[Mapping[str, str]]) -> None:
    ran = replay(tmp_path, choices(talk=talk), "reward=[choice_answer,clean_text]", file=file)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    pairs = table(tmp_path, "pairs")
    assert sorted(row["messages"][-1]["content"] for row in pairs) == [f"Question {i}: A or B?" for i in range(3)]
    for row in pairs:
        assert row["messages"][:-1] == list(talk)
        assert (row["chosen"], row["rejected"]) == (choices()[0]["response"], choices()[1]["response"])


def test_answers_that_do_not_fit_the_target_are_kept_out(tmp_path: Path) -> None:
    make_tokenizer(tmp_path / "model")  # a token a byte; of each prompt the wrong answer is too long
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    own = tmp_path / "conf" / "target" / "pico.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(f"name: pico\nmodel: {{uri: {tmp_path}/model}}\n")
    ran = replay(
        tmp_path, choices(), "target=pico", "reward=[choice_answer,clean_text,fits_target]",
        "selection.clean_by=[clean_text,fits_target]", "rewards.fits_target.max_length=64",
        "--config-dir", str(tmp_path / "conf"),
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(table(tmp_path, "sft")) == 3
    assert {row["reason"] for row in table(tmp_path, "drops")} == {"no_failing_response"}
    assert "3 failed by fits_target" in ran.stdout


def test_one_name_for_two_prompts_is_refused(tmp_path: Path) -> None:
    two = [row | {"prompt_id": "same"} for row in rows() if row["prompt_id"] in ("m/1", "m2")]
    ran = replay(tmp_path, two)
    assert ran.returncode == 2
    assert "prompt_id 'same' names another prompt" in ran.stderr
    assert "replay.columns.prompt_id=''" in ran.stderr
    assert replay(tmp_path, two, "replay.columns.prompt_id=''").returncode == 0


def test_a_prompt_under_two_names_is_kept_once_and_its_answers_are_accounted_for(tmp_path: Path) -> None:
    twice = rows(dict.fromkeys(("first", "second"), PROMPTS["m/1"]))
    ran = replay(tmp_path, twice)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [row["prompt_id"] for row in table(tmp_path, "sft")] == ["first"]
    reasons = [row["reason"] for row in table(tmp_path, "drops")]
    assert reasons.count("duplicate_prompt") == 1
    assert reasons.count("prompt_dropped") == 2


def test_a_question_of_a_benchmark_trains_nothing_and_is_accounted_for(tmp_path: Path) -> None:
    asked = "A baker sells forty rolls before noon and twice as many after it. How many rolls does she sell that day?"
    (tmp_path / "quiz.jsonl").write_text(json.dumps({"prompt": asked.upper()}) + "\n")
    own = tmp_path / "conf" / "decontaminate" / "own.yaml"
    own.parent.mkdir(parents=True)
    benchmarks = f"benchmarks: {{quiz: {{path: {tmp_path}/quiz.jsonl}}}}"
    own.write_text(f"defaults: [{{/prompts@benchmarks.quiz: jsonl}}, _self_]\n{benchmarks}\n")
    prompts = {"m/1": PROMPTS["m/1"], "baker": {"prompt": asked, "domain": "math", "reference": "120",
                                                "answers": ("It is 120.", "It is 80.")}}  # fmt: skip
    ran = replay(tmp_path, rows(prompts), "decontaminate=own", "--config-dir", str(tmp_path / "conf"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 in = 1 out + 1 in_benchmark" in ran.stdout
    assert [row["prompt_id"] for row in table(tmp_path, "sft")] == ["m/1"]
    (drop,) = [row for row in table(tmp_path, "drops") if row["reason"] == "in_benchmark"]
    assert drop["detail"] == "quiz/quiz.jsonl:1: the same text"
