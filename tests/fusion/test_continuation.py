"""Contexts and continuations as token ids: what belongs to which, with hand-made tokenizers."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from fusion.continuation import pair_ids, within

VOCAB = {"<bos>": 0, "<eos>": 1, "Ġ": 2, "a": 3, "b": 4, "c": 5, ":": 6, "Ġb": 7, ":c": 8}
MERGES = [("Ġ", "b"), (":", "c")]


def tokenizer(*, adds_bos: bool = True, has_bos: bool = True) -> PreTrainedTokenizerFast:
    """Letters, and two pairs of them that are one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    core = Tokenizer(models.BPE(vocab=VOCAB, merges=MERGES))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    if adds_bos:
        core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<bos>" if has_bos else None,
        eos_token="<eos>",
        clean_up_tokenization_spaces=False,
    )


def test_a_continuation_is_what_the_context_leaves_of_both_texts() -> None:
    assert pair_ids(tokenizer(), "a:", " b") == ((0, 3, 6), (7,))
    assert pair_ids(tokenizer(adds_bos=False), "a:", " bb") == ((3, 6), (7, 4))


def test_spaces_at_the_end_of_the_context_belong_to_the_continuation() -> None:
    assert pair_ids(tokenizer(), "a: ", "b") == ((0, 3, 6), (7,))


def test_letters_that_make_one_token_with_the_context_are_lost_as_in_the_library() -> None:
    assert pair_ids(tokenizer(), "a:", "cb") == ((0, 3, 6), (4,))
    assert pair_ids(tokenizer(), "a:", "c") == ((0, 3, 6), ())


@pytest.mark.parametrize("adds_bos", [True, False])
def test_a_text_that_begins_with_the_beginning_gets_no_second_one(adds_bos: bool) -> None:
    assert pair_ids(tokenizer(adds_bos=adds_bos), "<bos>a", "b") == ((0, 3), (4,))


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize("context", ["", " "])
def test_before_a_text_alone_stands_what_begins_one(adds_bos: bool, context: str) -> None:
    assert pair_ids(tokenizer(adds_bos=adds_bos), context, "ab") == ((0,), (2, 3, 4) if context else (3, 4))
    assert pair_ids(tokenizer(adds_bos=adds_bos), context, "b") == ((0,), (7,) if context else (4,))


def test_a_family_without_a_beginning_begins_after_an_end() -> None:
    without = tokenizer(adds_bos=False, has_bos=False)
    assert pair_ids(without, "", "ab") == ((1,), (3, 4))
    assert pair_ids(without, "", "<eos>ab") == ((1,), (3, 4))


def test_a_context_that_is_too_long_loses_its_beginning() -> None:
    pair = (1, 2, 3, 4), (5, 6)
    assert within(pair, 5) == pair, "the last token is predicted only"
    assert within(pair, 4) == ((2, 3, 4), (5, 6))
    assert within(pair, 2) == ((4,), (5, 6))
    assert within(pair, 1) is None
