"""Where a text says, in the first person, which model it is or who made it.

A name of a model or maker is looked for first, as names are rare; what stands before it in its sentence decides:
"I am NAME", "I am an AI model ... developed by NAME", "As an AI trained by NAME", "I was created by NAME", and the same
in Chinese. A name in any other place ("ask ChatGPT", "Google it") is talk about it, not a claim to be it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from fusion.hygiene.finding import Finding, Kind
from fusion.hygiene.names import AMBIGUOUS, MAKERS, MODELS

REACH = 160
"""Characters before a name that are looked at."""


def _alternatives(names: Sequence[str]) -> str:
    """One branch a first letter, which makes the search three times as fast; the longest name first."""
    branches = []
    for letter, group in itertools.groupby(sorted(set(names)), key=lambda name: name[0]):
        rest = sorted((re.escape(name[1:]) for name in group), key=len, reverse=True)
        branches.append(f"{letter}(?:{'|'.join(rest)})")
    return "|".join(branches)


_NAME = re.compile(_alternatives([*MODELS, *MAKERS]))
_SENTENCE_END = re.compile(r"[.!?](?=\s)|[\n。！？]")
_MAKE = r"(?:developed|created|trained|made|built|designed|programmed|powered|fine-?tuned|pre-?trained|offered)"
_MACHINE = r"(?:AI|A\.I\.|artificial intelligence|assistant|language models?|chat ?bot|LLM|bot|model)\b"
_QUOTE = r"[\"'*“‘「《`]*"
_IS = r"(?:\b[Ii](?:\s+am|['’]m)|\b[Mm]y\s+name(?:\s+is|['’]s)|\bJe suis|\bSoy|\bIch bin|\b[Ee]u sou|\bIo sono)\s+"
_IS_NAME = re.compile(rf"{_IS}(?:actually\s|just\s|called\s|known as\s|the\s|simply\s|also\s){{0,2}}{_QUOTE}$")
_A_MACHINE = rf"(?:\b[Ii](?:\s+am|['’]m)\s+(?:just\s+|only\s+)?|\b[Aa]s\s+)(?:an?|the|your)\s+(?:[^,;]*?\b)?{_MACHINE}"
_I_AM = r"\b[Ii](?:\s+was|\s+am|['’]m|['’]ve been|\s+have been)"
_UP_TO_3 = rf"(?:[\w@-]+\s+){{0,3}}{_QUOTE}$"
_WORK_OF = re.compile(
    rf"{_A_MACHINE}[^;]*?\b(?:{_MAKE}(?:\s+and\s+\w+)?\s+by|named|called|known\s+as|based\s+on)\s+{_UP_TO_3}"
    rf"|{_A_MACHINE}\s+(?:from|of)\s+{_QUOTE}$"
    rf"|{_I_AM}\s+(?:\w+\s+){{0,2}}{_MAKE}(?:\s+(?!by\b)\w+){{0,5}}\s+by\s+{_UP_TO_3}"
    rf"|{_I_AM}\s+(?:based|built)\s+on\s+{_UP_TO_3}"
    rf"|{_I_AM}\s+(?:an?|the)\s+(?:\w+\s+){{0,2}}(?:version|variant|successor|member)\s+(?:of|to)\s+(?:the\s+)?{_QUOTE}$"
    rf"|\b[Mm]y\s+(?:creators?|developers?|makers?)(?:\s+at|,|\s+is|\s+are)\s+(?:the\s+)?{_QUOTE}$"
)
_CHINESE = re.compile(
    rf"(?:我|本人)(?:是|叫|的名字(?:是|叫)|名叫)(?:[^用对想在的，。]{{0,8}}(?:公司|云|团队|实验室)?)?"
    rf"(?:[^。！？\n]{{0,16}}(?:模型|助手|机器人|人工智能|AI)[^。！？\n]{{0,6}}(?:由|叫|名为|——|，)?)?{_QUOTE}$"
    rf"|作为[^。！？\n，]{{0,12}}(?:由|来自)?{_QUOTE}$"
)
_CHINESE_MADE = re.compile(r"[^。！？\n，]{0,12}(?:开发|研发|训练|创建|创造|推出)(?:的|出)")
_CHINESE_OF = re.compile(r"\s?(?:的|用户|团队|专家|粉丝)")
_SURNAME = re.compile(r" (?!Pro|Ultra|Flash|Nano|Instant|Opus|Sonnet|Haiku|Chat|Instruct|Large|Small|AI|Bot)[A-Z][a-z]")
_IS_MACHINE = re.compile(rf"[^.!?\n]{{0,60}}?\b{_MACHINE}")


def identities(text: str, own_names: Sequence[str] = ()) -> list[Finding]:
    """Claims to be, or to be the work of, a model or maker that is not among `own_names` (any case).

    Example: identities("As an AI developed by OpenAI, I cannot.")[0].detail == "As an AI developed by OpenAI"
    """
    own = {name.casefold() for name in own_names}
    found: list[Finding] = []
    for match in _NAME.finditer(text):
        if match[0].casefold() in own or _is_part_of_word(text, match):
            continue
        start = _claim_start(text, match)
        if start is not None and not (found and start <= found[-1].start):
            found.append(Finding(Kind.IDENTITY, start, match.end(), text[start : match.end()]))
    return found


def _is_part_of_word(text: str, match: re.Match[str]) -> bool:
    """ "Metadata" holds no maker; versions may follow a name."""
    if not match[0].isascii():
        return False
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    return (before.isascii() and before.isalnum()) or (after.isascii() and after.isalpha())


def _claim_start(text: str, match: re.Match[str]) -> int | None:
    """Where the claim begins that the name ends; None: it is no claim."""
    window = max(0, match.start() - REACH)
    before = text[window : match.start()]
    ends = [end.end() for end in _SENTENCE_END.finditer(before)]
    window += ends[-1] if ends else 0
    before = text[window : match.start()]
    claim = _claim(before, match[0], text, match.end())
    return window + claim.start() if claim else None


def _claim(before: str, name: str, text: str, end: int) -> re.Match[str] | None:
    """What in `before` makes the name, which ends at text[end], a claim."""
    if claim := _WORK_OF.search(before):
        return claim
    if name in MODELS and (claim := _IS_NAME.search(before)):
        is_person = _SURNAME.match(text, end) or (name in AMBIGUOUS and not _IS_MACHINE.match(text, end))
        return None if is_person else claim
    if claim := _CHINESE.search(before):
        is_named = name in MODELS and claim[0][0] != "作" and not _CHINESE_OF.match(text, end)
        return claim if is_named or _CHINESE_MADE.match(text, end) else None
    return None
