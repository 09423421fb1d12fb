"""Markup that belongs to a model's format and not to its answer: reasoning tags, and control tokens of templates."""

from __future__ import annotations

import re

from fusion.hygiene.finding import Finding, Kind

_TAG = re.compile(
    r"<(?P<close>/)?(?P<name>think|thinking|thought|thoughts|reasoning|scratchpad|inner_monologue|reflection|seed:think)>"
    r"|<\|(?P<section>(?:begin|end)_of_thought)\|>"
    r"|<\|channel\|>\s?(?P<channel>analysis|commentary)"
    r"|\[(?P<mistral_close>/)?THINK\]"
    r"|◁(?P<kimi_close>/)?think▷"
)
_TOKEN = re.compile(
    r"<\|/?[A-Za-z][\w ]{0,40}\|>"
    r"|<｜[^｜<>\n]{1,40}｜>"
    r"|</?(?:start_of_turn|end_of_turn|bos|eos|pad|unk|sep|cls)>"
    r"|<<SYS>>|<</SYS>>|<s>(?=\s?\[INST)|(?:</s>)+"
    r"|\[/?INST\]|\[gMASK\]|\[(?:AVAILABLE_TOOLS|TOOL_CALLS)\]"
)
_CHANNELS = ("<|channel|>", "<|begin_of_thought|>", "<|end_of_thought|>")


def reasoning(text: str) -> list[Finding]:
    """Private reasoning, from its opening tag to its closing one.

    A tag that is never closed reaches to the end of the text; a closing tag that was never opened, from its start, as
    templates that pre-fill the opening tag leave it.

    Example: reasoning("3 is odd</think>Odd.") == [Finding(Kind.REASONING, 0, 16, "</think> never opened")]
    """
    if "<" not in text and "THINK]" not in text and "◁" not in text:
        return []
    found: list[Finding] = []
    opened: re.Match[str] | None = None
    for tag in _TAG.finditer(text):
        if not _closes(tag):
            opened = opened or tag
        elif opened:
            found.append(Finding(Kind.REASONING, opened.start(), tag.end(), f"{opened[0]} to {tag[0]}"))
            opened = None
        else:
            start = found[-1].end if found else 0
            found.append(Finding(Kind.REASONING, start, tag.end(), f"{tag[0]} never opened"))
    if opened:
        found.append(Finding(Kind.REASONING, opened.start(), len(text), f"{opened[0]} never closed"))
    return found


def template_tokens(text: str) -> list[Finding]:
    """Control tokens of chat templates; those that mark reasoning are left to `reasoning`.

    Example: template_tokens("Yes.<|im_end|>") == [Finding(Kind.TEMPLATE, 4, 14, "<|im_end|>")]
    """
    if "<" not in text and "[" not in text:
        return []
    is_html = "<s>" in text  # strikes a text out that </s> ends
    return [
        Finding(Kind.TEMPLATE, token.start(), token.end(), token[0])
        for token in _TOKEN.finditer(text)
        if token[0] not in _CHANNELS and not (is_html and token[0] == "</s>")
    ]


def _closes(tag: re.Match[str]) -> bool:
    return bool(tag["close"] or tag["mistral_close"] or tag["kimi_close"] or tag["section"] == "end_of_thought")
