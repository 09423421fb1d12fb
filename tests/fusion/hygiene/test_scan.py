"""What the checks find in a response, and what they leave alone."""

from __future__ import annotations

import pytest

from fusion.hygiene.finding import Finding, Kind
from fusion.hygiene.scan import folded, scan

TOKEN = "ghp_" + "h7Kq2Zr9Tb4Xw1Ns8Vd5Lf3Gc6Jm0PyEuAoQ"
FOUND = [
    # text, kind
    (" \n\t", Kind.EMPTY),
    ("I am Qwen, here to help.", Kind.IDENTITY),
    ("Hello! I'm **Claude**, an assistant.", Kind.IDENTITY),
    ("As an AI language model developed by OpenAI, I cannot.", Kind.IDENTITY),
    ("I was created by a team at Anthropic.", Kind.IDENTITY),
    ("I am a model from Mistral AI.", Kind.IDENTITY),
    ("I am Kimi, an AI assistant.", Kind.IDENTITY),
    ("我是通义千问。", Kind.IDENTITY),
    ("我是阿里云开发的大模型。", Kind.IDENTITY),
    ("作为一个由OpenAI训练的语言模型，我不能。", Kind.IDENTITY),
    ("<think>Two and two</think>Four", Kind.REASONING),
    ("<think>Two and two", Kind.REASONING),
    ("Two and two</think>Four", Kind.REASONING),
    ("<|channel|>analysis Two and two", Kind.REASONING),
    ("Four<|im_end|>", Kind.TEMPLATE),
    ("Four<end_of_turn>", Kind.TEMPLATE),
    ("[INST] Add [/INST] Four", Kind.TEMPLATE),
    ("Four</s></s>", Kind.TEMPLATE),
    (f"token = '{TOKEN}'", Kind.SECRET),
    ("AKIAQ7ZRT4XW5NSV6DLF", Kind.SECRET),
    ("Write to mara.lindqvist@gmail.com", Kind.PERSONAL),
    ("Call (415) 732-9901 today", Kind.PERSONAL),
    ("Call +44 20 7946 3817", Kind.PERSONAL),
    ("手机：13871620495", Kind.PERSONAL),
    ("Card 4539 1488 0343 6467", Kind.PERSONAL),
    ("Pay to NL91 ABNA 0417 1643 00", Kind.PERSONAL),
]


@pytest.mark.parametrize(("text", "kind"), FOUND)
def test_found(text: str, kind: Kind) -> None:
    assert {finding.kind for finding in scan(text)} == {kind}


CLEAN = [
    "Ask ChatGPT, or Google it.",
    "I am not ChatGPT.",
    "I am excited about the position at Google.",
    "I am Hermes, messenger of the gods.",
    "I'm Claude Monet.",
    "我是ChatGPT的忠实用户。",
    "我是清华大学的学生。",
    "if a <b and c> d: x[INSTANCE]",
    "<s>old</s> new",
    "sk-your-key-goes-here-xxxxxxxxxxxxxxxxxxxx and AKIAIOSFODNN7EXAMPLE",
    "the task-oriented-and-risk-averse-strategy-of-the-desk-clerk",
    "jane.roe@example.com, john.doe@gmail.com, support@contoso.com, you@yourdomain.org",
    "@property and @name@mastodon.social and a@b.py",
    "Call (415) 555-0132, 123-456-7890 or 1-800-273-8255",
    "5 +14157329901 = x, 4539148803436467, 13871620495",
    "Test card 4111 1111 1111 1111, IBAN DE89 3704 0044 0532 0130 00",
]


@pytest.mark.parametrize("text", CLEAN)
def test_left_alone(text: str) -> None:
    assert scan(text) == []


def test_own_names_are_no_other_model() -> None:
    assert scan("I am Llama, a model trained by Meta.", own_names=["llama", "meta"]) == []
    assert len(scan("I am Qwen, trained by Alibaba.", own_names=["llama", "meta"])) == 1


def test_what_the_prompt_holds_is_left_alone() -> None:
    assert scan("Sent to mara.lindqvist@gmail.com", prompt="Mail mara.lindqvist@gmail.com") == []
    assert scan("<think>2</think>3", prompt="Think inside <think> tags") == []


def test_unclosed_reasoning_reaches_to_the_end() -> None:
    assert scan("Yes <think>why") == [Finding(Kind.REASONING, 4, 14, "<think> never closed")]


def test_details_give_no_secret_away() -> None:
    details = " ".join(finding.detail for finding in scan(f"{TOKEN} mara.lindqvist@gmail.com (415) 732-9901"))
    assert details.count("…") == 3
    assert not any(part in details for part in (TOKEN[:10], "mara", "732", "9901"))


def test_folded_is_equal_for_texts_that_differ_in_layout_only() -> None:
    assert folded("Yes.\n\n  No. ") == folded("\tYes. No.") == "Yes. No."
    assert folded("Yes. No") != folded("Yes. No.")
