"""Prompts from files: what is read, and what is refused with file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.prompts.base import RawPrompt
from fusion.prompts.columns import Columns
from fusion.prompts.jsonl import Jsonl
from fusion.prompts.parquet import Parquet


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_lines_become_prompts_with_file_and_line_as_key(tmp_path: Path) -> None:
    path = write(
        tmp_path / "sums.jsonl",
        b'\xef\xbb\xbf{"prompt": "What is 3 + 4?", "reference": 7, "domain": "math"}',  # a byte order mark
        b"",
        b'{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}\r',
    )
    assert list(Jsonl(path=str(path)).read()) == [
        RawPrompt("sums.jsonl:1", ({"role": "user", "content": "What is 3 + 4?"},), "math", "sums", "7"),
        RawPrompt(
            "sums.jsonl:3",
            ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}),
            "instruction",
            "sums",
            None,
        ),
    ]


GOOD = b'{"prompt": "Hi"}'
BAD = [
    (b'{"prompt": "Hi"', "malformed JSON"),
    (b'{"prompt": "caf\xe9"}', "byte 16 is not UTF-8"),
    (b'"Hi"', "expected an object"),
    (b'{"text": "Hi"}', "no column 'prompt' or 'messages', only text"),
    (b'{"prompt": 3}', "prompt must be a string, got int"),
    (b'{"prompt": "Hi", "reference": ["a"]}', "reference must be a string or a number, got list"),
    (b'{"messages": []}', "non-empty list"),
    (b'{"messages": [{"role": "bot", "content": "Hi"}]}', r"messages\[0\] must have a role"),
    (b'{"messages": [{"role": "user", "content": null}]}', r"messages\[0\].content must be a string"),
    (b'{"messages": [{"role": "assistant", "content": "Hi"}]}', "ends with assistant"),
    (b'{"prompt": "half a pair \\ud83d"}', "not valid Unicode"),
]


@pytest.mark.parametrize(("line", "message"), BAD)
def test_bad_line_is_refused_with_its_number(tmp_path: Path, line: bytes, message: str) -> None:
    path = write(tmp_path / "bad.jsonl", GOOD, line)
    with pytest.raises(ConfigError, match=f"bad.jsonl:2: .*{message}"):
        list(Jsonl(path=str(path)).read())


def test_empty_prompt_is_a_row_not_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", b'{"prompt": ""}')
    assert next(Jsonl(path=str(path)).read()).messages == ({"role": "user", "content": ""},)


def test_gzip_reads_as_plain_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b'{"prompt": "%d"}\n' % i for i in range(2000)))
    (tmp_path / "p.jsonl.gz").write_bytes(whole)
    assert len(list(Jsonl(path=str(tmp_path / "p.jsonl.gz")).read())) == 2000
    (tmp_path / "p.jsonl.gz").write_bytes(whole[:-20])
    with pytest.raises(ConfigError, match="not a whole gzip file"):
        list(Jsonl(path=str(tmp_path / "p.jsonl.gz")).read())


def test_identity_is_the_content_not_the_place(tmp_path: Path) -> None:
    prints = []
    for name, line in [("a.jsonl", GOOD), ("b.jsonl", GOOD), ("c.jsonl", b'{"prompt": "Ho"}')]:
        prompts = Jsonl(path=str(write(tmp_path / name, line)))
        prompts.resolve()
        prints.append(fingerprint(prompts))
    assert prints[0] == prints[1] != prints[2]


def test_missing_file_and_changed_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not there"):
        Jsonl(path=str(tmp_path / "none.jsonl")).resolve()
    path = write(tmp_path / "p.jsonl", GOOD)
    with pytest.raises(ConfigError, match="the file changed"):
        Jsonl(path=str(path), digest="0" * 64).resolve()


def test_columns_are_mapped(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", json.dumps({"question": "Hi", "gold": "Ho", "id": 3}).encode())
    columns = Columns(prompt="question", reference="gold", default_domain="chat", default_dataset="greetings")
    prompt = next(Jsonl(path=str(path), columns=columns).read())
    assert (prompt.messages[0]["content"], prompt.reference) == ("Hi", "Ho")
    assert (prompt.domain, prompt.dataset) == ("chat", "greetings")


def test_parquet_reads_as_jsonl_does(tmp_path: Path) -> None:
    rows = [{"prompt": "Hi", "reference": "Ho"}, {"prompt": "What is 3 + 4?", "reference": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    write(tmp_path / "p.jsonl", *(json.dumps(row).encode() for row in rows))
    parquet = list(Parquet(path=str(tmp_path / "p.parquet")).read())
    jsonl = list(Jsonl(path=str(tmp_path / "p.jsonl")).read())
    assert [(p.messages, p.domain, p.dataset, p.reference) for p in parquet] == [
        (p.messages, p.domain, p.dataset, p.reference) for p in jsonl
    ]
    assert [p.key for p in parquet] == ["p.parquet:0", "p.parquet:1"]


def test_broken_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ConfigError, match="cannot be read as Parquet"):
        list(Parquet(path=str(tmp_path / "p.parquet")).read())
