"""Personal data: e-mail addresses, phone numbers, payment cards and bank accounts that could be somebody's.

Addresses and numbers that are made to be examples (example.com, 555-0123, 4111 1111 1111 1111) are no one's, and
addresses of offices (info@, support@) no person's. A run of digits without the marks of a phone or card number
(brackets, a country code, groups of four) is a number. What a model invents may be somebody's and is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from fusion.hygiene.finding import Finding, Kind
from fusion.hygiene.numbers import is_made_up, stands_alone
from fusion.hygiene.payment import cards, ibans

_LOCAL = re.compile(r"(?<!@)\b[A-Za-z0-9](?:[\w.%+-]{0,62}[\w+-])?$", re.ASCII)
_DOMAIN = re.compile(r"((?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24})(?![\w@-])", re.ASCII)
_NO_DOMAIN = re.compile(
    r"(?:^|\.)(?:example|test|invalid|localhost|local|internal)(?:\.|$)|example|sample|your|domain|company"
    r"|^(?:e?mail|abc|xyz|foo|bar|acme|website|business|organi[sz]ation|university|school|site|server|host|place\w*)\."
    r"|\.(?:py|js|ts|java|cpp|cs|rb|go|php|html|css|json|xml|ya?ml|txt|md|png|jpe?g|gif|svg)$",
    re.IGNORECASE,
)
"""Reserved for examples (RFC 2606), placeholders, and names of files."""
_NO_PERSON = re.compile(
    r"(?:git|user\w*|.*name|first|last|e?-?mail|info|support|contact\w*|admin\w*|help|sales|office|hello|no-?reply"
    r"|service|customer.*|test.*|example.*|sample.*|you|your.*|me|someone|foo|bar|x+"
    r"|j(?:ohn|ane)?[._-]?(?:doe|smith)\d*|(?:alice|bob|john|jane)\d*)",
    re.IGNORECASE,
)
"""Addresses of offices, placeholders, and the people of examples."""

_FOUR_DIGITS = re.compile(r"[0-9][0-9][0-9][0-9]")
"""Every number looked for has such a run, but for some phone numbers that start with +; most answers have none."""
_NORTH_AMERICA = re.compile(r"[(2-9](?:[2-9]\d\d?\) ?|\d\d[.-])[2-9]\d\d[ .-]\d{4}", re.ASCII)
_WORLD = re.compile(r"\+[1-9]\d{0,2}(?:[ .-]?\(\d{1,4}\))?(?:[ .-]?\d){6,12}", re.ASCII)
_CHINA = re.compile(r"1[3-9]\d[ -]?\d{4}[ -]?\d{4}", re.ASCII)
_CHINA_CONTEXT = re.compile(r"(?:电话|手机|微信|联系|热线|[Pp]hone|[Mm]obile|[Tt]el|WhatsApp)\D{0,12}$")
_SUM = re.compile(r"[\d=)]\s*$", re.ASCII)
_FREE_OF_CHARGE = ("800", "833", "844", "855", "866", "877", "888", "900")


def personal_data(text: str) -> list[Finding]:
    """Personal data of the four kinds; details are shortened: "e-mail m…@gmail.com", "phone number +4…, 11 digits"."""
    found = [*_emails(text)]
    if "+" in text:
        found.extend(_phones(text, [_WORLD]))
    if _FOUR_DIGITS.search(text):
        found.extend(_phones(text, [_NORTH_AMERICA, _CHINA]))
        found.extend(cards(text))
        found.extend(ibans(text))
    return found


def _emails(text: str) -> Iterator[Finding]:
    at = text.find("@")
    while at >= 0:
        local, domain = _LOCAL.search(text, max(0, at - 64), at), _DOMAIN.match(text, at + 1)
        if local and domain and _is_somebodys(local[0], domain[1]):
            detail = f"e-mail {local[0][0]}…@{domain[1]}"
            yield Finding(Kind.PERSONAL, local.start(), domain.end(), detail)
        at = text.find("@", at + 1)


def _is_somebodys(local: str, domain: str) -> bool:
    return _NO_PERSON.fullmatch(local) is None and _NO_DOMAIN.search(domain) is None


def _phones(text: str, patterns: Sequence[re.Pattern[str]]) -> Iterator[Finding]:
    for pattern in patterns:
        for match in pattern.finditer(text):
            digits = re.sub(r"\D", "", match[0])
            if stands_alone(text, match) and not is_made_up(digits) and _is_phone(text, match, digits):
                detail = f"phone number {match[0][:2]}…, {len(digits)} digits"
                yield Finding(Kind.PERSONAL, match.start(), match.end(), detail)


def _is_phone(text: str, match: re.Match[str], digits: str) -> bool:
    if match.re is _CHINA:
        return _CHINA_CONTEXT.search(text, max(0, match.start() - 20), match.start()) is not None
    if match.re is _WORLD and _SUM.search(text, max(0, match.start() - 3), match.start()):
        return False
    return _is_north_american(digits.removeprefix("1")) if digits[0] == "1" or match.re is _NORTH_AMERICA else True


def _is_north_american(digits: str) -> bool:
    """Area and exchange start with 2 to 9; not free of charge, and not of the exchange 555, which is for fiction."""
    area, exchange = digits[:3], digits[3:6]
    is_fiction = "555" in (area, exchange)
    return len(digits) == 10 and min(area[0], exchange[0]) >= "2" and area not in _FREE_OF_CHARGE and not is_fiction
