"""Rows in the forms that data sets have: ShareGPT, Alpaca, OpenAI's messages, and questions alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusion.errors import ConfigError
from fusion.prompts.alpaca import Alpaca
from fusion.prompts.base import RawPrompt
from fusion.prompts.columns import Columns, Trailing, to_prompt
from fusion.prompts.local_file import LocalFile
from fusion.prompts.openai_messages import OpenaiMessages
from fusion.prompts.sharegpt import ShareGpt

TALK = [
    {"from": "system", "value": "Be brief."},
    {"from": "human", "value": "Hi"},
    {"from": "gpt", "value": "Hello! How can I help?"},
    {"from": "human", "value": "What is a fjord?"},
    {"from": "gpt", "value": "A drowned valley."},
]
ASKED = (
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello! How can I help?"},
    {"role": "user", "content": "What is a fjord?"},
)


def only(source: LocalFile) -> RawPrompt:
    (prompt,) = source.read()
    return prompt


def write(path: Path, rows: list[dict[str, object]]) -> str:
    """In the format that the ending names."""
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    else:
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return str(path)


@pytest.mark.parametrize("ending", ["json", "jsonl", "jsonl.gz", "parquet"])
def test_a_sharegpt_prompt_is_everything_up_to_the_last_human_turn(tmp_path: Path, ending: str) -> None:
    prompt = only(ShareGpt(path=write(tmp_path / f"talks.{ending}", [{"conversations": TALK}])))
    assert prompt.messages == ASKED
    assert prompt.reference is None
    assert prompt.key == f"talks.{ending}:{1 if 'jsonl' in ending else 0}"
    assert prompt.dataset == "talks"


def test_the_answer_to_the_last_human_turn_may_be_the_reference(tmp_path: Path) -> None:
    columns = Columns(messages="conversations", trailing=Trailing.REFERENCE)
    more = [*TALK, {"from": "gpt", "value": "Norwegian for it."}]
    prompt = only(ShareGpt(path=write(tmp_path / "t.json", [{"conversations": more}]), columns=columns))
    assert (prompt.messages, prompt.reference) == (ASKED, "A drowned valley.")


def test_what_follows_the_last_user_turn_is_refused_where_prompts_are_expected() -> None:
    with pytest.raises(ConfigError, match="ends with assistant.*set prompts.columns.trailing=cut"):
        to_prompt({"messages": TALK}, "t:1", Columns(), "t")


def test_openai_messages_of_one_conversation_equal_sharegpt_ones(tmp_path: Path) -> None:
    roles = {"human": "user", "gpt": "assistant", "system": "system"}
    messages = [{"role": roles[turn["from"]], "content": turn["value"]} for turn in TALK]
    assert only(OpenaiMessages(path=write(tmp_path / "t.jsonl", [{"messages": messages}]))).messages == ASKED


def test_a_conversation_in_which_nobody_asks_becomes_an_empty_prompt(tmp_path: Path) -> None:
    prompt = only(ShareGpt(path=write(tmp_path / "t.json", [{"conversations": TALK[2:3]}])))
    assert (prompt.messages, prompt.asked) == ((), "")


@pytest.mark.parametrize("turns", [["What?", "And why?"], [{"content": "What?"}, {"content": "And why?"}]])
def test_a_list_of_questions_is_a_conversation_of_one_side(turns: list[object]) -> None:
    prompt = to_prompt({"turns": turns}, "t:1", Columns(messages="turns"), "t")
    assert prompt.messages == ({"role": "user", "content": "What?"}, {"role": "user", "content": "And why?"})


def test_an_alpaca_prompt_is_instruction_and_input_and_its_output_is_no_gold(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"instruction": "Translate to French.", "input": "Good morning", "output": "Bonjour"},
        {"instruction": "Name a fish.", "input": "", "output": "Cod", "system": "You are a cook."},
    ]
    first, second = Alpaca(path=write(tmp_path / "a.json", rows)).read()
    assert first.messages == ({"role": "user", "content": "Translate to French.\n\nGood morning"},)
    assert (first.reference, first.response) == (None, "Bonjour")
    assert [m["content"] for m in second.messages] == ["You are a cook.", "Name a fish."]


BAD = [
    ({"conversations": [{"from": "function", "value": "{}"}]}, r"conversations\[0\] must have a role.*'function'"),
    ({"conversations": [{"from": "human", "value": 3}]}, r"conversations\[0\].value must be a string, got int"),
    ({"conversations": "Hi"}, "conversations must be a non-empty list, got str"),
    ({"text": "Hi"}, "no column 'prompt' or 'conversations', only text"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_bad_row_is_refused_with_its_place(tmp_path: Path, row: dict[str, object], message: str) -> None:
    source = ShareGpt(path=write(tmp_path / "t.jsonl", [{"conversations": TALK}, row]))
    with pytest.raises(ConfigError, match=f"t.jsonl:2: .*{message}"):
        list(source.read())


def test_a_file_that_is_no_list_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('{"conversations": []}')
    with pytest.raises(ConfigError, match="holds one dict; a list of objects is expected"):
        list(ShareGpt(path=str(tmp_path / "t.json")).read())
    (tmp_path / "t.csv").write_text("a,b")
    with pytest.raises(ConfigError, match=r"ends in \.jsonl, \.json, \.parquet"):
        list(ShareGpt(path=str(tmp_path / "t.csv")).read())


def test_a_list_of_asserts_is_a_reference_and_any_other_list_is_not() -> None:
    row: dict[str, object] = {"prompt": "Add.", "tests": ["assert add(1, 2) == 3", "assert add(\n  0, 0\n) == 0"]}
    assert to_prompt(row, "t:1", Columns(reference="tests"), "t").reference == json.dumps(row["tests"])
    with pytest.raises(ConfigError, match="tests must be a string or a number, got list"):
        to_prompt({"prompt": "Add.", "tests": ["3"]}, "t:1", Columns(reference="tests"), "t")


def test_asserts_of_the_text_are_the_tests_where_no_column_has_them() -> None:
    row: dict[str, object] = {
        "instruction": "Write add. For example:\n```\nassert add(1, 2) == 3\n```\nI assert that it is easy.",
        "response": "def add(a, b):\n    return a + b\n\nassert add(1, 2) == 3\nassert add(2, 2) == 4",
    }
    columns = Columns(prompt="instruction", asserts=["instruction", "response"])
    assert json.loads(to_prompt(row, "t:1", columns, "t").reference or "") == [
        "assert add(1, 2) == 3",
        "assert add(2, 2) == 4",
    ]
    assert to_prompt({"instruction": "Write add."}, "t:1", columns, "t").reference is None
