"""Hub data sets, read from local copies of all kinds, and the data sets with a form of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.prompts.columns import Columns
from fusion.prompts.existing import existing_responses
from fusion.prompts.helpsteer import HelpSteer
from fusion.prompts.hf_dataset import HfDataset
from fusion.prompts.jsonl import Jsonl
from fusion.schema import prompt_id

ROWS = [{"problem": f"What is {i} + 1?", "answer": str(i + 1), "solution": f"It is {i + 1}."} for i in range(5)]
COLUMNS = Columns(prompt="problem", reference="answer", response="solution", default_domain="math")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def lines(path: Path, rows: list[dict[str, str]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(**settings: object) -> list[tuple[str, str, str | None]]:
    source = HfDataset(name="org/sums", columns=COLUMNS, **settings)  # type: ignore[arg-type]
    source.resolve()
    return [(p.key, p.messages[0]["content"], p.reference) for p in source.read()]


def test_a_folder_of_data_files_has_the_splits_that_its_names_say(tmp_path: Path) -> None:
    lines(tmp_path / "data" / "train.jsonl", ROWS[:3])
    lines(tmp_path / "data" / "test.jsonl", ROWS[3:])
    folder = str(tmp_path / "data")
    assert read(path=folder, split="test")[0] == ("org/sums/test:0", "What is 3 + 1?", "4")
    assert [text for _, text, _ in read(path=folder, split="train[1:]")] == ["What is 1 + 1?", "What is 2 + 1?"]
    with pytest.raises(ConfigError, match=r"data set org/sums .*split validation, cannot be loaded"):
        read(path=folder, split="validation")


def test_a_saved_data_set_and_a_file_read_as_the_folder_does(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "one"))
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "splits"))
    lines(tmp_path / "data" / "rows.jsonl", ROWS)
    expected = read(path=str(tmp_path / "data"))
    assert len(expected) == 5
    assert read(path=str(tmp_path / "one")) == read(path=str(tmp_path / "splits")) == expected
    from_file = read(path=str(tmp_path / "data" / "rows.jsonl"))
    assert [row[1:] for row in from_file] == [row[1:] for row in expected]
    assert from_file[0][0] == "rows.jsonl:1"
    with pytest.raises(ConfigError, match="split test, cannot be loaded"):
        read(path=str(tmp_path / "splits"), split="test")


def test_a_copy_is_known_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    prints = []
    for folder, rows in (("a", ROWS), ("b", ROWS), ("c", ROWS[:4])):
        lines(tmp_path / folder / "train.jsonl", rows)
        (tmp_path / folder / ".git").mkdir()
        (tmp_path / folder / ".git" / "index").write_text(folder)
        source = HfDataset(name="org/sums", path=str(tmp_path / folder))
        source.resolve()
        prints.append(fingerprint(source))
    assert prints[0] == prints[1] != prints[2]
    with pytest.raises(ConfigError, match="the file changed"):
        HfDataset(name="org/sums", path=str(tmp_path / "a"), digest="0" * 64).resolve()
    with pytest.raises(ConfigError, match="none is not there or holds no file"):
        HfDataset(name="org/sums", path=str(tmp_path / "none")).resolve()


def test_several_subsets_are_read_in_order_and_their_rows_name_them(tmp_path: Path) -> None:
    for subset, rows in (("hard", ROWS[3:]), ("easy", ROWS[:2])):
        lines(tmp_path / "data" / subset / "test.jsonl", rows)
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*.jsonl\n" for name in ("easy", "hard"))
    (tmp_path / "data" / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    source = HfDataset(name="org/sums", path=str(tmp_path / "data"), subsets=["hard", "easy"], subset_column="level")
    source.resolve()
    found = [(key, row["level"], row["problem"]) for key, row in source.rows()]  # type: ignore[index]
    assert found == [
        ("org/sums/hard/train:0", "hard", "What is 3 + 1?"),
        ("org/sums/hard/train:1", "hard", "What is 4 + 1?"),
        ("org/sums/easy/train:0", "easy", "What is 0 + 1?"),
        ("org/sums/easy/train:1", "easy", "What is 1 + 1?"),
    ]


def test_a_copy_in_one_piece_is_the_same_whatever_subsets_the_hub_has(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list(ROWS).save_to_disk(str(tmp_path / "saved"))
    for path in (lines(tmp_path / "rows.jsonl", ROWS), tmp_path / "saved"):
        plain = HfDataset(name="org/sums", path=str(path))
        parted = HfDataset(name="org/sums", path=str(path), subsets=["easy", "hard"], subset_column="level")
        for source in (plain, parted):
            source.resolve()
        assert fingerprint(parted) == fingerprint(plain)
        assert list(parted.rows()) == list(plain.rows())


@pytest.mark.parametrize("revision", ["", "main", "v1.0"])
def test_a_hub_data_set_without_a_commit_is_refused(revision: str) -> None:
    with pytest.raises(ConfigError, match=r"pin it to a commit.*or set prompts\.path"):
        HfDataset(name="openai/gsm8k", revision=revision).resolve()


def test_stored_solutions_are_found_under_the_ids_of_their_problems(tmp_path: Path) -> None:
    again = [*ROWS, ROWS[0] | {"solution": "One."}, {"problem": "What is 9 + 1?", "answer": "10"}]
    source = Jsonl(path=str(lines(tmp_path / "p.jsonl", again)), columns=COLUMNS)
    answers = list(existing_responses(source))
    first = prompt_id([{"role": "user", "content": "What is 0 + 1?"}], "1")
    assert [text for key, text in answers if key == first] == ["It is 1.", "One."]
    assert len(answers) == 6
    with pytest.raises(ConfigError, match=r"set columns\.response"):
        list(existing_responses(Jsonl(path=source.path, columns=Columns(prompt="problem"))))


TALKS = {
    "Hi": ["user: Hi"],
    "Hi\n<extra_id_1>Assistant\nHello.\nYes?\n<extra_id_1>User\nWhat is a fjord?": [
        "user: Hi",
        "assistant: Hello.\nYes?",
        "user: What is a fjord?",
    ],
    "Hi\n<extra_id_1>Assistant\nHello.": ["user: Hi"],
    "What does <extra_id_1> mean?": ["user: What does <extra_id_1> mean?"],
}


@pytest.mark.parametrize(("text", "messages"), TALKS.items())
def test_helpsteer_writes_a_conversation_into_one_column(tmp_path: Path, text: str, messages: list[str]) -> None:
    source = HelpSteer(path=str(lines(tmp_path / "p.jsonl", [{"prompt": text}])))
    (prompt,) = source.read()
    assert [f"{m['role']}: {m['content']}" for m in prompt.messages] == messages
