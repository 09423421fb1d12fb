"""FuseChat-3.0's prompt mix as its yamls compose it, on a few rows in the columns of each of its eight data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusion.artifact import Artifact
from fusion.config import composed, objects
from fusion.prompts.code_reference import holds_tests
from fusion.prompts.existing import existing_responses
from fusion.schema import prompt_id
from tests.fusion.stages.test_ingest import ingested

Row = Mapping[str, object]

SEA = "Describe the mood of a harbour town in late autumn, when the last ferry has left."
SHARED = "Which habits help a shy person to make friends in a new city?"
LETTER = "Draft a polite letter to a neighbour whose dog barks at night."
ORCHARD = "An orchard has 12 rows of 15 trees. How many trees are there?"
STATEMENT = "Given integers `a` and `b`, return their sum.\n\n**Input:** a = 2, b = 3\n**Output:** 5\n"
SOLUTION = "```python\nclass Solution:\n    def addTwo(self, a: int, b: int) -> int:\n        return a + b\n```\n"
HALF = "Write a Python function `half` that halves an even number, so that\nassert half(4) == 2"
TEA = "请用一段话介绍中国的茶文化。"
SPRING = "写一首关于春天的短诗，表达对家乡的思念。"

ROWS: dict[str, Sequence[Row]] = {
    "ultrafeedback": [
        {"source": "sharegpt", "instruction": SEA, "models": ["a"], "completions": [], "correct_answers": ["None"]},
        {"source": "evol_instruct", "instruction": SHARED, "models": [], "completions": [], "correct_answers": []},
        {"source": "flan", "instruction": "Solve 3x + 4 = 19 for x.", "models": [], "completions": []},
        {"source": "ultrachat", "instruction": "Write a Python script that renames files.", "models": []},
    ],
    "magpie_pro": [
        {"uuid": "1", "instruction": LETTER, "task_category": "Creative writing", "chosen": [], "rejected": []},
        {"uuid": "2", "instruction": "Why does it happen?", "task_category": "Math", "chosen": [], "rejected": []},
        {"uuid": "3", "instruction": "It fails, help!", "task_category": "Coding & Debugging", "chosen": []},
    ],
    "helpsteer2": [
        {"prompt": SHARED, "response": "Join a club.", "helpfulness": 4, "correctness": 4, "verbosity": 1},
        {"prompt": "Hello\n<extra_id_1>Assistant\nHi!\n<extra_id_1>User\nTell me of fjords.", "response": "Deep."},
        {"prompt": "Hello\n<extra_id_1>Assistant\nHi!\n<extra_id_1>User\nTell me of fjords.", "response": "Cold."},
    ],
    "openmathinstruct2": [
        {"problem": ORCHARD, "generated_solution": "12 x 15 = \\boxed{180}", "expected_answer": "180",
         "problem_source": "augmented_gsm8k"},
        {"problem": ORCHARD, "generated_solution": "It is \\boxed{180}.", "expected_answer": "180",
         "problem_source": "augmented_gsm8k"},
        {"problem": "Name a prime.", "generated_solution": "7", "expected_answer": None, "problem_source": "math"},
    ],
    "leetcode": [
        {"id": 1, "slug": "add-two", "title": "Add Two", "difficulty": "Easy", "content": STATEMENT, "java": "",
         "c++": "", "python": SOLUTION, "javascript": ""},
        {"id": 2, "slug": "draw", "title": "Draw", "difficulty": "Hard", "content": "See the picture.", "java": "",
         "c++": "", "python": SOLUTION, "javascript": ""},
    ],
    "self_oss_instruct": [
        {"id": 1, "instruction": HALF, "response": "```python\ndef half(n): return n // 2\n```\n", "seed": ""},
        {"id": 2, "instruction": "Write a Python function `third`.", "seed": "",
         "response": "```python\ndef third(n): return n // 3\n```\nassert third(9) == 3\n"},
        {"id": 3, "instruction": "Write a Python function `fourth`.", "response": "def fourth(n): ...", "seed": ""},
    ],
    "alpaca_gpt4_zh": [
        {"instruction": TEA, "input": "", "output": "茶文化历史悠久。"},
        {"instruction": "Tell me about tea.", "input": "", "output": "Tea is old."},
        {"instruction": "编写一个排序算法。", "input": "", "output": "def sort"},
    ],
    "magpie_chinese": [
        {"uuid": "1", "instruction": SPRING, "task_category": "Creative writing", "response": "春风"},
        {"uuid": "2", "instruction": "这是为什么呢？", "task_category": "Math", "response": "因为"},
    ],
}  # fmt: skip


def write(part: str, folder: Path) -> Path:
    """Half of the sets as Parquet, half as JSON lines."""
    rows = ROWS[part]
    if part in ("ultrafeedback", "openmathinstruct2", "leetcode", "alpaca_gpt4_zh"):
        names = dict.fromkeys(name for row in rows for name in row)
        path = folder / f"{part}.parquet"
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
        return path
    path = folder / f"{part}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("fusechat3")
    config = objects(
        composed(
            ["name=mix", "prompts=fusechat3", *(f"prompts.parts.{part}.path={write(part, folder)}" for part in ROWS)]
        )
    )
    assert config.prompts is not None
    config.prompts.resolve()
    return ingested(folder / "out", config.prompts, near=0.9)


@pytest.fixture(scope="module")
def kept(artifact: Artifact) -> dict[str, dict[str, Any]]:
    """What is asked last -> the prompt."""
    return {row["messages"][-1]["content"]: row for row in artifact.read().to_pylist()}


def test_the_domains_and_data_sets_are_the_papers(kept: dict[str, dict[str, Any]]) -> None:
    found = {(row["dataset"], row["domain"]) for row in kept.values()}
    assert found == {
        ("openbmb/UltraFeedback", "instruction"),
        ("Magpie-Align/Magpie-Pro-DPO-100K-v0.1", "instruction"),
        ("nvidia/HelpSteer2", "instruction"),
        ("nvidia/OpenMathInstruct-2", "math"),
        ("greengerong/leetcode", "code"),
        ("bigcode/self-oss-instruct-sc2-exec-filter-50k", "code"),
        ("llamafactory/alpaca_gpt4_zh", "chinese"),
        ("Magpie-Align/Magpie-Qwen2-Pro-200K-Chinese", "chinese"),
    }
    assert {SEA, SHARED, LETTER, "Tell me of fjords.", ORCHARD, HALF, TEA, SPRING} <= set(kept)
    assert len(kept["Tell me of fjords."]["messages"]) == 3


def test_mathematics_has_gold_answers_and_code_has_tests(kept: dict[str, dict[str, Any]]) -> None:
    references = {domain: [] for domain in ("instruction", "math", "code", "chinese")}  # type: ignore[var-annotated]
    for row in kept.values():
        references[row["domain"]].append(row["reference"])
    assert references["math"] == ["180"]
    assert len(references["code"]) == 3
    assert all(map(holds_tests, references["code"]))
    assert {*references["instruction"], *references["chinese"]} == {None}
    (sums,) = [row for asked, row in kept.items() if asked.startswith("Given integers")]
    assert "addTwo(2, 3) == 5" in sums["reference"]


def test_every_row_that_is_left_out_says_why(artifact: Artifact) -> None:
    """Rows of Parquet count from 0, lines of JSONL from 1."""
    drops = {row["key"].split("/", 1)[0] + row["key"][-2:]: row["reason"] for row in artifact.drops().to_pylist()}
    assert drops == {
        "ultrafeedback:2": "excluded_domain",  # an equation
        "ultrafeedback:3": "excluded_domain",  # a script
        "magpie_pro:2": "excluded_domain",  # by its tag alone
        "magpie_pro:3": "excluded_domain",
        "helpsteer2:1": "duplicate_prompt",  # of UltraFeedback's, which comes first
        "helpsteer2:3": "duplicate_prompt",  # two answers to one prompt
        "openmathinstruct2:1": "duplicate_prompt",
        "openmathinstruct2:2": "no_reference",
        "leetcode:1": "no_tests",
        "self_oss_instruct:3": "no_tests",
        "alpaca_gpt4_zh:1": "other_language",
        "alpaca_gpt4_zh:2": "excluded_domain",
        "magpie_chinese:2": "excluded_domain",
    }
    assert artifact.accounts.rows_in == sum(map(len, ROWS.values()))


def test_the_stored_solutions_are_found_under_the_ids_of_their_problems(
    kept: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    path = write("openmathinstruct2", tmp_path)
    config = objects(composed(["name=mix", "source=[llama31_405b]", f"sources.llama31_405b.existing.path={path}"]))
    stored = config.sources["llama31_405b"].existing
    assert stored is not None
    answers = [text for key, text in existing_responses(stored) if key == kept[ORCHARD]["prompt_id"]]
    assert answers == ["12 x 15 = \\boxed{180}", "It is \\boxed{180}."]
    assert kept[ORCHARD]["prompt_id"] == prompt_id([{"role": "user", "content": ORCHARD}], "180")
