"""How a reply begins, ends and is put together."""

from __future__ import annotations

_DIVIDER = "******"


def two_responses(reply: str) -> bool:
    """Two different parts with `******` between them; the divider may open or close the reply as well."""
    first, *others = reply.split(_DIVIDER)
    if not others:
        return False
    *inner, last = others
    parts = [part.strip() for part in (first, *inner, last)]
    if not all(parts[1:-1]):
        return False
    filled = [part for part in parts if part]
    return len(filled) == 2 and filled[0] != filled[1]


def repeat_prompt(reply: str, *, prompt_to_repeat: str) -> bool:
    """The reply begins with the prompt, in any case."""
    return reply.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(reply: str, *, end_phrase: str) -> bool:
    """The reply ends with the phrase, in any case; double quotes around the reply are looked through."""
    return reply.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(reply: str) -> bool:
    """The whole reply stands in straight double quotation marks."""
    text = reply.strip()
    return len(text) > 1 and text[0] == '"' and text[-1] == '"'


def no_comma(reply: str) -> bool:
    """No comma; other scripts' commas are allowed, as published."""
    return "," not in reply
