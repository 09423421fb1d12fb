"""A benchmark's items: templates over rows, and data that is checked by count and content."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.prompts.items import Aside, Items, Shots
from fusion.prompts.row_template import render, shuffled

ROWS = [
    {"id": 1, "question": "1 + 1", "options": ["1", "2"], "answer": 1, "kind": "sum", "note": "x"},
    {"id": 2, "question": "2 * 3", "options": ["6", "5"], "answer": 0, "kind": "product", "note": "y"},
    {"id": 3, "question": "4 < 5 & true?", "options": ["yes", "no"], "answer": 0, "kind": "logic", "note": "z"},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def items(path: Path, **settings: object) -> Items:
    fields: dict[str, object] = {
        "name": "org/sums",
        "path": str(path),
        "item": "{{ id }}",
        "question": "What is {{ question }}?\n{{ options | lettered }}",
        "reference": "{{ {'answer': 'AB'[answer], 'options': options} | tojson }}",
        "checked": ["id", "question", "answer"],
    }
    made = Items(**{**fields, **settings})
    made.resolve()
    return made


def test_rows_become_prompts_by_template(tmp_path: Path) -> None:
    first, _, third = items(write(tmp_path / "a.jsonl", ROWS)).read()
    assert first.messages == ({"role": "user", "content": "What is 1 + 1?\nA. 1\nB. 2"},)
    assert json.loads(first.reference or "") == {"answer": "B", "options": ["1", "2"]}
    assert (first.key, first.dataset) == ("1", "org/sums")
    assert "4 < 5 & true?" in third.messages[0]["content"], "markup of other languages stays as it is"


def test_content_is_the_same_in_any_format_and_order_and_with_other_columns(tmp_path: Path) -> None:
    plain = items(write(tmp_path / "a.jsonl", ROWS)).copy()
    packed = items(write(tmp_path / "b.jsonl.gz", [{**row, "note": "other"} for row in reversed(ROWS)])).copy()
    assert plain == packed
    assert plain.num_items == 3


def test_a_changed_gold_answer_is_another_content(tmp_path: Path) -> None:
    before = items(write(tmp_path / "a.jsonl", ROWS)).copy()
    after = items(write(tmp_path / "b.jsonl", [ROWS[0] | {"answer": 0}, *ROWS[1:]]))
    assert after.copy().content != before.content
    with pytest.raises(ConfigError, match=r"content [0-9a-f]{16}, not .*; the data set changed"):
        items(tmp_path / "b.jsonl", content=before.content).copy()


def test_another_form_of_prompt_is_the_same_content(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROWS)
    assert items(path, question="{{ question }}").copy() == items(path).copy()


def test_a_condition_chooses_items(tmp_path: Path) -> None:
    chosen = items(write(tmp_path / "a.jsonl", ROWS), where='kind != "logic"')
    assert [prompt.key for prompt in chosen.read()] == ["1", "2"]
    assert chosen.copy().num_items == 2


def test_an_item_that_stands_in_several_rows_counts_once(tmp_path: Path) -> None:
    rows = [{**row, "source": source} for source in ("a", "b") for row in ROWS]
    assert [prompt.key for prompt in items(write(tmp_path / "a.jsonl", rows)).read()] == ["1", "2", "3"]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    broken = items(write(tmp_path / "a.jsonl", ROWS), question="{{ problem }}")
    with pytest.raises(ConfigError, match=r"a\.jsonl:1.*'problem' is undefined.*columns answer, id, kind"):
        list(broken.read())


def test_shots_come_from_the_same_category(tmp_path: Path) -> None:
    solved = write(tmp_path / "solved.jsonl", [{"kind": "sum", "q": f"s{i}"} for i in range(9)])
    shots = Shots(path=str(solved), by="{{ kind }}", num=2)
    question = "{% for shot in shots %}{{ shot.q }};{% endfor %}{{ question }}"
    found = items(write(tmp_path / "a.jsonl", ROWS), shots=shots, question=question)
    assert [prompt.messages[0]["content"] for prompt in found.read()][:2] == ["s0;s1;1 + 1", "2 * 3"]


def test_a_second_turn_has_its_own_reference(tmp_path: Path) -> None:
    solved = write(tmp_path / "solved.jsonl", [{"of": 2, "said": ["first", "second"]}])
    found = items(
        write(tmp_path / "a.jsonl", ROWS),
        aside=Aside(path=str(solved), item="{{ of }}"),
        reference="{{ aside.said[0] if aside else '' }}",
        followup="And {{ question }} + 1?",
        followup_reference="{{ aside.said[1] if aside else '' }}",
    )
    assert [prompt.reference for prompt in found.read()] == [None, "first", None]
    assert list(found.followups().values())[:2] == [("And 1 + 1 + 1?", None), ("And 2 * 3 + 1?", "second")]


def test_without_a_copy_or_a_commit_the_remedy_is_named() -> None:
    with pytest.raises(ConfigError, match="no copy of org/sums is at hand; set data=FOLDER"):
        Items(name="org/sums", item="{{ id }}", question="{{ q }}").resolve()


def test_a_seed_decides_an_order() -> None:
    assert shuffled("abcdef", "q1") == shuffled("abcdef", "q1")
    assert {tuple(shuffled("abcdef", f"q{i}")) for i in range(20)} != {tuple("abcdef")}


def test_templates_cannot_reach_python() -> None:
    with pytest.raises(ConfigError, match="does not render"):
        render("{{ q.__class__.__mro__ }}", {"q": "x"}, "row")
