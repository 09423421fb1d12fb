"""What of a training row is kept, cut and dropped, and how references find it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from fusion.chat import Renderer
from fusion.errors import ArtifactError
from fusion.models import ChatConfig
from fusion.schema import hash_text
from fusion.train.rows import (
    TokenRow,
    pair_rows,
    read_rows,
    sft_rows,
    tokens_id,
    with_references,
    with_sources,
    write_rows,
)
from tests.tiny import make_tokenizer

ROLES = ("chosen", "rejected")


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return Renderer.load(folder, ChatConfig())


def pair(chosen: str, rejected: str, prompt: str = "1+1?", prompt_id: str = "p") -> dict[str, object]:
    messages = [{"role": "user", "content": prompt}]
    return {
        "prompt_id": prompt_id,
        "pair_index": 0,
        "domain": "sums",
        "messages": messages,
        "chosen": chosen,
        "rejected": rejected,
    }


def sft(response: str, prompt_id: str = "p") -> dict[str, object]:
    return {**pair("", ""), "response": response, "prompt_id": prompt_id}


def test_an_sft_row_is_prompt_and_response_with_one_end_of_turn(renderer: Renderer) -> None:
    rows, dropped = sft_rows([sft("two")], renderer, 256)
    assert renderer.tokenizer.decode(rows[0].prompt_ids) == "<bos><|user|>1+1?<|end|><|assistant|>"
    assert renderer.tokenizer.decode(rows[0].responses[0]) == "two<|end|>"
    assert not dropped


def test_an_sft_row_over_the_length_is_dropped_and_counted(renderer: Renderer) -> None:
    rows, dropped = sft_rows([sft("x" * 300, "long"), sft("two", "short")], renderer, 256)
    assert [row.key for row in rows] == ["short"]
    assert dropped == {"over_length": 1}


def test_a_long_prompt_of_a_pair_keeps_its_end_and_bos_and_no_response_loses_its_end(renderer: Renderer) -> None:
    """Cut from the left it once lost its beginning of sequence, without which some models print garbage."""
    rows, dropped = pair_rows([pair("yes", "no", prompt="a" * 50 + "z")], renderer, ROLES, 20)
    (row,) = rows
    assert renderer.tokenizer.decode(row.prompt_ids) == "<bos>" + "a" * 12 + "z<|end|><|assistant|>"
    assert [renderer.tokenizer.decode(r) for r in row.responses] == ["yes<|end|>", "no<|end|>"]
    assert not dropped


def test_a_pair_whose_response_alone_is_too_long_is_dropped(renderer: Renderer) -> None:
    assert pair_rows([pair("x" * 20, "no")], renderer, ROLES, 20) == ([], {"over_length": 1})


def test_a_pair_of_equal_tokens_is_dropped(renderer: Renderer) -> None:
    assert pair_rows([pair("yes", "yes<|end|>")], renderer, ROLES, 256) == ([], {"difference_lost": 1})


def test_of_a_triple_only_the_rejected_answer_must_differ(renderer: Renderer) -> None:
    roles = ("source_chosen", "target_chosen", "rejected")

    def triple(**texts: str) -> dict[str, object]:
        return {key: value for key, value in pair("", "").items() if key != "pair_index"} | texts

    same = [triple(source_chosen="yes", target_chosen="yes", rejected="no")]
    (row,), dropped = pair_rows(same, renderer, roles, 256)
    assert row.key == "p"
    assert not dropped
    lost = [triple(source_chosen="yes", target_chosen="no", rejected="no")]
    assert pair_rows(lost, renderer, roles, 256) == ([], {"difference_lost": 1})


def test_a_pair_with_room_for_a_beginning_of_sequence_alone_is_dropped(renderer: Renderer) -> None:
    assert pair_rows([pair("yes", "no")], renderer, ROLES, 5) == ([], {"over_length": 1})  # 4 tokens answer
    (row,), _ = pair_rows([pair("yes", "no")], renderer, ROLES, 6)
    assert renderer.tokenizer.decode(row.prompt_ids) == "<bos><|assistant|>"


def test_weighted_rows_keep_their_weight_and_stand_with_their_prompt(renderer: Renderer) -> None:
    (row,), _ = pair_rows([pair("yes", "no") | {"weight": 0.25}], renderer, ROLES, 256)
    assert (row.key, row.weight, row.group) == ("p/0", 0.25, "p")
    (answer,), _ = sft_rows([sft("two") | {"weight": 0.75, "source": "a"}], renderer, 256)
    assert (answer.key, answer.weight, answer.group) == ("p/a", 0.75, "p")


def test_numbers_of_sources_are_joined_by_prompt_and_text_and_what_is_lacking_is_not_a_number() -> None:
    rows = [TokenRow("set/p/1", (1,), ((2,), (3,))), TokenRow("set/p/0", (1,), ((4,), (3,)))]
    texts = {"set/p/0": ["four", "three"], "set/p/1": ["two", "three"]}
    first = {("set/p", hash_text("two")): -1.0, ("set/p", hash_text("three")): -2.0, ("q", hash_text("four")): -9.0}
    second = {("set/p", hash_text("four")): -3.0}
    joined = with_sources(rows, texts, [first, second])
    assert [[[str(one) for one in role] for role in row.sources] for row in joined] == [
        [["-1.0", "nan"], ["-2.0", "nan"]],
        [["nan", "-3.0"], ["-2.0", "nan"]],
    ]


def test_references_are_found_by_tokens_whatever_the_row_is_called() -> None:
    row = TokenRow("a", (1, 2), ((3,), (4, 5)))
    known = {tokens_id((1, 2), (3,)): -1.5, tokens_id((1, 2), (4, 5)): -2.5}
    assert with_references([row], known, (), Counter())[0].references == (-1.5, -2.5)


def test_a_row_whose_reference_is_no_number_is_left_out_and_counted() -> None:
    row, other = TokenRow("a/0", (1, 2), ((3,), (4, 5))), TokenRow("b/0", (1, 2), ((3,), (6,)))
    known = {tokens_id((1, 2), (3,)): -1.5, tokens_id((1, 2), (6,)): -2.5}
    dropped = Counter[str]()
    kept = with_references([row, other], known, {tokens_id((1, 2), (4, 5))}, dropped)
    assert [one.key for one in kept] == ["b/0"]
    assert dropped == {"not_finite": 1}


def test_a_missing_reference_is_refused_by_name() -> None:
    with pytest.raises(ArtifactError, match="pair a/0: no reference"):
        with_references([TokenRow("a/0", (1, 2), ((3,), (4, 5)))], {tokens_id((1, 2), (3,)): -1.5}, (), Counter())


def test_tokens_that_move_between_prompt_and_response_have_another_id() -> None:
    assert tokens_id((1, 2), (3,)) != tokens_id((1,), (2, 3))


def test_rows_survive_their_file(tmp_path: Path) -> None:
    rows = [
        TokenRow("a", (1, 2), ((3,), (4, 5)), (-1.5, -2.5), ((-1.0, -2.0), (-3.0, -4.0)), 0.5, "p"),
        TokenRow("b", (7,), ((2,),)),
    ]
    write_rows(tmp_path / "rows.parquet", rows)
    assert read_rows(tmp_path / "rows.parquet") == rows
