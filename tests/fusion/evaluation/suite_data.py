"""One item of each benchmark of FuseChat-3.0's suite, invented, in the published form and under the published name."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

CASE = json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}])
CHOICES = ["one", "two", "three", "four"]
MMLU = {"subject": "sums", "question": "1 + 1?", "choices": CHOICES, "answer": 1}
CONTEST = {"public_test_cases": CASE, "private_test_cases": CASE, "metadata": "{}"}
FILES: dict[str, dict[str, object]] = {
    "alpaca_eval_multi_source.jsonl": {
        "prompt_id": "a", "instruction": "Say it.", "dataset": "d", "source": "gpt4_1106_preview", "response": "It.",
    },
    "arena_hard_v0.1_questions.jsonl": {"uid": "u", "prompt": "Say it.", "cluster": "c"},
    "arena_hard_v0.1_answers.jsonl": {"uid": "u", "prompt": "Say it.", "source": "gpt-4-0314", "response": "It."},
    "mt_bench_questions.jsonl": {"question_id": 1, "turns": ["Say it.", "Again."], "category": "writing"},
    "data_v1.1_release.jsonl": {"question_id": 1, "question": "说。", "reference": "好。", "category": "综合问答"},
    "gsm8k_test.jsonl": {"question": "1 + 1?", "answer": "It is two. #### 2"},
    "math.jsonl": {"problem": "1 + 1?", "solution": r"\boxed{2}", "type": "Algebra"},
    "amc23.jsonl": {"id": 1, "problem": "1 + 1?", "answer": "2"},
    "mmlu_pro.jsonl": {"question_id": 1, "question": "1 + 1?", "options": CHOICES, "answer": "B", "category": "math"},
    "mmlu_redux.jsonl": {**MMLU, "error_type": "ok"},
    "mmlu_test.parquet": MMLU,
    "gpqa_diamond.parquet": {"Question": "1 + 1?", "options": CHOICES, "answer": 1},
    "humaneval.jsonl": {
        "task_id": "HumanEval/0", "prompt": "def two():\n", "test": "def check(f):\n    assert f() == 2\n",
        "entry_point": "two",
    },
    "mbpp_plus.jsonl": {"task_id": "Mbpp/1", "prompt": "Write two().", "assertion": "assert two() == 2"},
    "livecodebench.jsonl": {
        "question_id": "q", "question_content": "Add.", "starter_code": "", "contest_date": "2024-09-01T00:00:00",
        "difficulty": "easy", **CONTEST,
    },
    "livebench.jsonl": {
        "question_id": "q", "turns": ["1 + 1?"], "livebench_release_date": "2024-08-31", "livebench_removal_date": "",
        "category": "math", "task": "math_comp", "ground_truth": "2",
    },
}  # fmt: skip
"""File -> its one row. MATH has no published file: its place is given by hand."""


def write_suite(folder: Path) -> Path:
    """The files; returns `folder`."""
    folder.mkdir()
    for name, row in FILES.items():
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist([row]), folder / name)
        else:
            (folder / name).write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder
