"""`fusion align`: what a person sees of an alignment."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from fusion.cli import main
from fusion.explicit.alignment import AlignmentMode
from fusion.explicit.view import Shape, html, shown, view
from tests.fusion.explicit.real_tokenizers import AWKWARD, FILES, text, tokenizer
from tests.shared_data import shared_data


def test_every_token_of_both_sides_is_shown_once_in_order() -> None:
    for whole in (*AWKWARD[2:], text("chinese")[:500]):
        one, other = tokenizer("llama3_1"), tokenizer("gemma3")
        seen = view(whole, one, other, AlignmentMode.BYTE_OFFSETS)
        for side, owner in (("source", one), ("pivot", other)):
            words = [word for group in seen.groups for word in getattr(group, side)]
            assert words == [shown(owner.vocabulary.pieces[i]) for i in owner.encode(whole).ids.tolist()]


def test_white_space_and_parts_of_characters_are_spelled_out() -> None:
    assert shown(b" a\n\t") == "·a⏎⇥"
    assert shown("你".encode()[:2]) == "<E4><BD>"
    assert shown(b"\xc2\xa0") == "<U+00A0>"


def test_the_page_holds_the_text_and_no_markup_of_it() -> None:
    whole = "<script>alert('你好')</script> & more"
    page = html([view(whole, tokenizer("qwen3"), tokenizer("gemma3"), AlignmentMode.BYTE_OFFSETS)])
    assert "<script>" not in page
    rows = re.findall(r'<div class="row">(.*?)</div>', page)
    tokens = [unescape(t) for row in rows[::2] for t in re.findall(r'<span class="token">(.*?)</span>', row)]
    assert "".join(tokens).replace("·", " ") == whole
    assert "http" not in page


def test_the_command_prints_both_sides_and_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "text.txt"
    file.write_text("Unbelievable 你好\n")
    pair = [str(shared_data(FILES[name])) for name in ("llama3_1", "gemma3")]
    with pytest.raises(SystemExit) as ended:
        main(["align", *pair, "--text", str(file), "--html", str(tmp_path / "page.html")])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "llama3_1 Un" in printed
    assert "20 bytes of text" in printed.replace("\n", " ")  # 12 letters, a space, twice 3 bytes, the end of the line
    assert (tmp_path / "page.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.json", "absent.json", "--text", "TEXT"], "no such file or folder"),
        (["nobody", "nobody", "--text", "TEXT"], "nobody"),
        (["nobody", "nobody", "--text", "absent.txt"], "--text absent.txt"),
        (["nobody", "nobody", "--text", "LATIN"], "byte 1 is not UTF-8"),
    ],
)
def test_what_is_not_there_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "TEXT").write_text("a")
    (tmp_path / "LATIN").write_bytes("aé".encode("latin-1"))
    arguments = [str(tmp_path / one) if (tmp_path / one).exists() else one for one in arguments]
    with pytest.raises(SystemExit) as ended:
        main(["align", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_shapes_are_told_apart() -> None:
    seen = view("Unbelievable 你好", tokenizer("smollm2"), tokenizer("gemma3"), AlignmentMode.BYTE_OFFSETS)
    assert {group.shape for group in seen.groups} == {Shape.EQUAL, Shape.MIXED, Shape.JOINED}
