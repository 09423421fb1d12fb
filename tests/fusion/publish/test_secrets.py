import pyarrow as pa
import pytest

from fusion.publish.secrets import masked, without_secrets
from fusion.schema import MESSAGES

KEY = "hf_" + "Qw3rTy9uIoPaSdFgHjKl" + "ZxCvBnM8Lk2J"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"export HF_TOKEN={KEY} # mine", "export HF_TOKEN=******** # mine"),
        # known to the hygiene checks alone
        ("npm_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8", "********"),
        # known to the config's masking alone
        ("https://user:hunter2secret@store.example/x", "https://********@store.example/x"),
        ("No key at all: sk-your-key-here", "No key at all: sk-your-key-here"),
    ],
)
def test_a_credential_is_masked_and_the_rest_stays(text, expected):
    assert masked(text) == expected


def test_rows_are_masked_at_any_depth_and_counted():
    table = pa.table(
        {
            "messages": pa.array(
                [[{"role": "user", "content": f"use {KEY}"}], [{"role": "user", "content": "hello"}]], MESSAGES
            ),
            "response": pa.array(["fine", f"I used {KEY}"], pa.string()),
            "sample_index": pa.array([0, 1], pa.int32()),
        }
    )
    clean, changed = without_secrets(table)
    assert changed == 2
    assert clean.schema == table.schema
    assert clean.to_pylist()[0]["messages"][0]["content"] == "use ********"
    assert clean.to_pylist()[1] == {
        "messages": [{"role": "user", "content": "hello"}],
        "response": "I used ********",
        "sample_index": 1,
    }


def test_a_clean_table_is_the_same_table():
    table = pa.table({"response": ["a", None]})
    assert without_secrets(table) == (table, 0)
