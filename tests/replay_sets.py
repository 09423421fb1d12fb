"""Public answers of many models as `experiment=replay` reads them: one function a file, joined with its prompts.

    python -m tests.replay_sets gsm8k mmlu_pro      each to its NAME.jsonl here; without a name, all of them

`FUSION_DATA` names the folder with the public files; docs/replay.md replays what is written.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tests.shared_data import shared_data

Row = dict[str, Any]


def gsm8k() -> Iterator[Row]:
    return _graded("math/gsm8k_multi_source.jsonl.gz", "math")


def math_l5() -> Iterator[Row]:
    return _graded("math/math_l5_multi_source.jsonl.gz", "math")


def crux() -> Iterator[Row]:
    return _graded("code/crux_multi_source.jsonl.gz", "code")


def code() -> Iterator[Row]:
    """HumanEval's prompts are code to continue, MBPP+'s tell of an assertion; their tests are joined by task."""
    prompts, tests = {}, {}
    for task in _read("code/humaneval.jsonl"):
        prompts[task["task_id"]] = task["prompt"]
        tests[task["task_id"]] = {"tests": task["test"], "entry_point": task["entry_point"]}
    for task in _read("code/mbpp_plus.jsonl.gz"):
        prompts[task["task_id"]] = task["prompt"]
        tests[task["task_id"]] = {"tests": task["assertion"], "entry_point": task["entry_point"]}
    for row in _read("code/code_multi_source.jsonl.gz"):
        yield {
            "prompt_id": row["task_id"],
            "prompt": prompts[row["task_id"]],
            "source": row["source"],
            "sample_index": row["sample"],
            "response": row["text"],
            "domain": "code",
            "reference": json.dumps(tests[row["task_id"]]),
        }


def mmlu_pro() -> Iterator[Row]:
    """The questions and their options, lettered as the models saw them, are joined by number."""
    questions = {task["question_id"]: task for task in _read("mc/mmlu_pro_sample.jsonl.gz")}
    for row in _read("mc/mmlu_pro_multi_source.jsonl.gz"):
        task = questions[row["question_id"]]
        options = [f"{letter}. {option}" for letter, option in zip("ABCDEFGHIJ", task["options"], strict=False)]
        yield {
            "prompt_id": row["question_id"],
            "prompt": "\n".join([task["question"], *options]),
            "source": row["source"],
            "response": row["response"],
            "domain": "mmlu",
            "reference": row["gold"],
        }


def ifeval() -> Iterator[Row]:
    """The arguments of the instructions are joined by key."""
    tasks = {task["key"]: task for task in _read("if/ifeval.jsonl")}
    for row in _read("if/ifeval_multi_source.jsonl.gz"):
        asked = {"instruction_id_list": row["instruction_id_list"], "kwargs": tasks[row["key"]]["kwargs"]}
        yield {
            "prompt_id": row["key"],
            "prompt": row["prompt"],
            "source": row["source"],
            "response": row["response"],
            "domain": "instruction",
            "reference": json.dumps(asked),
        }


def alpaca_eval() -> Iterator[Row]:
    """One judge's win rate over one reference; null where that judge has not seen the source's answers."""
    for row in _read("preference/alpaca_eval_multi_source.jsonl.gz"):
        yield {
            "prompt_id": row["prompt_id"],
            "prompt": row["instruction"],
            "source": row["source"],
            "response": row["response"],
            "domain": "instruction",
            "rewards": {"preference": row["preference"]},
        }


SETS: dict[str, Callable[[], Iterable[Row]]] = {
    made.__name__: made for made in (gsm8k, math_l5, crux, code, mmlu_pro, ifeval, alpaca_eval)
}


def write(rows: Iterable[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _graded(name: str, domain: str) -> Iterator[Row]:
    """Files that hold prompt and gold answer beside each response."""
    for row in _read(name):
        yield {
            "prompt_id": row["id"],
            "prompt": row["prompt"],
            "source": row["source"],
            "response": row["response"],
            "domain": domain,
            "reference": row["gold"],
        }


def _read(name: str) -> Iterator[Row]:
    opened = gzip.open if name.endswith(".gz") else open
    with opened(shared_data(name), "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or SETS:
        write(SETS[chosen](), Path(f"{chosen}.jsonl"))
        print(f"{chosen}.jsonl")
