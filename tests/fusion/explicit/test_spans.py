"""Tokens of real tokenizers cover exactly the bytes they stand for."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from fusion.errors import ConfigError
from fusion.explicit.spans import SpanError, spans
from fusion.explicit.tokenizers import load
from fusion.explicit.vocabulary import Vocabulary
from tests.fusion.explicit.real_tokenizers import AWKWARD, NAMES, text, tokenizer
from tests.shared_data import shared_data


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["english", "chinese", "code"])
def test_each_piece_is_the_bytes_of_its_span(name: str, kind: str) -> None:
    one, whole = tokenizer(name), text(kind)
    found, data = one.encode(whole), whole.encode()
    assert found.ends[-1] == len(data)
    for number, start, end in zip(found.ids.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True):
        piece = one.vocabulary.pieces[number]
        if start == 0 and one.vocabulary.prefix:
            piece = piece.removeprefix(one.vocabulary.prefix)
        assert data[start:end] == piece or not whole.isascii()  # NFC of a few characters; the next test has them


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("awkward", AWKWARD)
def test_spans_tile_awkward_texts(name: str, awkward: str) -> None:
    """Marks that are text, decomposed accents, special tokens spelled out, odd white space, emoji sequences."""
    one = tokenizer(name)
    found, data = one.encode(awkward), awkward.encode()
    assert (np.diff(found.ends) >= 0).all()
    assert (int(found.ends[-1]) if len(found) else 0) == len(data)
    changed, covered, prefix = b"", b"", one.vocabulary.prefix
    for number, start, end in zip(found.ids.tolist(), found.starts.tolist(), found.ends.tolist(), strict=True):
        piece, prefix = one.vocabulary.pieces[number].removeprefix(prefix), b""
        if piece == data[start:end]:
            assert one.vocabulary.canonical(covered.decode()).encode() == changed
            changed, covered = b"", b""
        else:  # the tokenizer changed these characters before it cut them
            changed, covered = changed + piece, covered + data[start:end]
    assert one.vocabulary.canonical(covered.decode()).encode() == changed


def test_golden_ids_spell_their_renderings() -> None:
    """Ids that real chat models were given, special tokens in the midst of the text."""
    rows = [
        json.loads(line) for line in shared_data("tokenizers/golden_chat_tokenization.jsonl").open(encoding="utf-8")
    ]
    families = {"llama3_1": "llama3_1", "qwen2": "qwen3", "qwen3": "qwen3"}
    checked = 0
    for row in rows:
        if row["family"] in families:
            found = spans(row["templated"], row["input_ids"], tokenizer(families[row["family"]]).vocabulary)
            assert found.ends[-1] == len(row["templated"].encode())
            checked += 1
    assert checked > 50


def test_a_beginning_and_an_end_cover_nothing() -> None:
    vocabulary = Vocabulary((b"<s>", b"</s>", b"ab", b"c"), frozenset({0, 1}))
    found = spans("abc", [0, 2, 3, 1], vocabulary)
    assert found.ends.tolist() == [0, 2, 3, 3]
    assert found.is_special.tolist() == [True, False, False, True]


def test_a_special_token_written_out_in_the_text_covers_its_own_name() -> None:
    found = spans("ab<s>c", [2, 0, 3], Vocabulary((b"<s>", b"</s>", b"ab", b"c"), frozenset({0, 1})))
    assert found.ends.tolist() == [2, 5, 6]


def test_a_token_that_swallows_white_space_covers_it() -> None:
    vocabulary = Vocabulary((b"<|end|>", b"ab", b"c"), frozenset({0}), strips=frozenset({0}))
    assert spans("ab <|end|>\n c", [1, 0, 2], vocabulary).ends.tolist() == [3, 12, 13]


def test_other_tokens_than_the_text_s_are_refused() -> None:
    vocabulary = Vocabulary((b"ab", b"c"), frozenset())
    with pytest.raises(SpanError, match="byte 2, b'd'"):
        spans("abd", [0, 1], vocabulary)
    with pytest.raises(SpanError, match="b'c' is left"):
        spans("abc", [0], vocabulary)
    with pytest.raises(SpanError, match="outside a vocabulary of 2"):
        spans("abc", [0, 2], vocabulary)


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match="byte-level"):
        load(tmp_path)
    (tmp_path / "torn.json.gz").write_bytes(gzip.compress(b'{"version'))
    with pytest.raises(ConfigError, match="no tokenizer"):
        load(tmp_path / "torn.json.gz")
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "absent.json")
