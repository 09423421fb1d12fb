"""Each answer whose public label and verdict differ, with its cause, as rows of docs/agreement.md.

    python -m tests.disagreements

Reads the verdicts of the runs `gsm8k` and `code` that docs/replay.md makes, under `runs/` here; IFEval's are made anew,
one for each instruction.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fusion.rewards.instructions.checks import Mode, check
from fusion.rewards.stated_answer import stated_answer
from tests.fusion.rewards.test_instruction_checks import is_a_draw
from tests.shared_data import shared_data

Row = dict[str, Any]
Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Example: Disagreement("GSM8K", "gsm8k-test-0", "gemma-2-27b-it", "fail", "pass", "1 + 1 equals 2")"""

    name: str
    key: str
    source: str
    label: str
    verdict: str
    cause: str

    def row(self) -> str:
        cells = (self.name, self.key, self.source, self.label, self.verdict, self.cause.replace("|", "\\|"))
        return f"| {' | '.join(cells)} |"


def gsm8k() -> Iterator[Disagreement]:
    given = verdicts("gsm8k", "math_answer")
    for row in rows("math/gsm8k_multi_source.jsonl.gz"):
        label, verdict = said(row["is_correct"]), given[row["id"], row["source"], 0]
        if verdict["outcome"] != label:
            stated = stated_answer(row["response"])
            cause = f"`{stated.text if stated else ''}`, gold {row['gold']}"
            yield Disagreement("GSM8K", row["id"], row["source"], label, verdict["outcome"], cause)


def ifeval(mode: Mode) -> Iterator[Disagreement]:
    with shared_data("if/ifeval.jsonl").open(encoding="utf-8") as lines:
        tasks = {task["key"]: task for task in map(json.loads, lines)}
    for row in rows("if/ifeval_multi_source.jsonl.gz"):
        names, kwargs = row["instruction_id_list"], tasks[row["key"]]["kwargs"]
        followed = check(row["response"], names, kwargs, mode)
        for name, given, mine, theirs in zip(names, kwargs, followed, row[mode.value], strict=True):
            if mine != theirs:
                cause = f"{name}: {drawn(name, given, row['response'], mode)}"
                yield Disagreement(f"IFEval {mode}", str(row["key"]), row["source"], said(theirs), said(mine), cause)


def drawn(name: str, given: Row, reply: str, mode: Mode) -> str:
    if name == "keywords:letter_frequency" and not str(given["letter"]).isalpha():
        return f"for `{given['letter']}` the published program draws a random letter"
    with pytest.MonkeyPatch.context() as patch:
        if is_a_draw(name, given, reply, mode, patch):
            return "langdetect, which samples the text, says both"
    return "not known"


def code() -> Iterator[Disagreement]:
    given = verdicts("code", "code_tests")
    for row in rows("code/code_multi_source.jsonl.gz"):
        label, verdict = said(row["passed_base_tests"]), given[row["task_id"], row["source"], row["sample"]]
        if verdict["outcome"] != label:
            lacked = ", ".join(name for name in ("unittest", "doctest") if f"import {name}" in row["text"])
            cause = (
                f"imports {lacked}, which the labels' sandbox lacked" if lacked else verdict["detail"] or "not known"
            )
            source = f"{row['source']} #{row['sample']}"
            yield Disagreement("code", row["task_id"], source, label, verdict["outcome"], cause)


def verdicts(run: str, reward: str) -> dict[Key, Row]:
    tables = map(pq.read_table, Path("runs", run, "data", "rewards").glob(f"*-{reward}"))
    found = (row for table in tables for row in table.to_pylist())
    return {(row["prompt_id"], row["source"], row["sample_index"]): row for row in found}


def rows(name: str) -> Iterator[Row]:
    with gzip.open(shared_data(name), "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def said(is_right: bool) -> str:
    return "pass" if is_right else "fail"


if __name__ == "__main__":
    print("| set | key | source | label | verdict | cause |\n|---|---|---|---|---|---|")
    for found in (gsm8k(), ifeval(Mode.STRICT), ifeval(Mode.LOOSE), code()):
        for disagreement in found:
            print(disagreement.row())
