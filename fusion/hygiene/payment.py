"""Payment cards and bank accounts, told from other numbers by their check digits and their form.

A card number stands in groups of four, or after a word such as "card": of all runs of sixteen digits one in ten has
the right check digit, and answers in mathematics hold many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fusion.hygiene.finding import Finding, Kind
from fusion.hygiene.numbers import is_made_up, stands_alone

_CARD = re.compile(r"[3-6]\d{3}(?:([ -])(?:\d{4}\1\d{4}\1\d{4}|\d{6}\1\d{5})|\d{11,12})", re.ASCII)
_CARD_CONTEXT = re.compile(r"(?:card|visa|mastercard|amex|credit|debit|卡号|信用卡)\D{0,30}$", re.IGNORECASE)
_TEST_CARDS = tuple("41111111 42424242 40128888 55555555 51051051 37828224 60111111".split())  # noqa: SIM905 one line
"""Beginnings of the numbers that payment firms publish for tests."""

_IBAN = re.compile(r"[A-Z][A-Z]\d\d(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_IBAN_LENGTHS = {
    "AE": 23, "AT": 20, "BE": 16, "BG": 22, "CH": 21, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "EE": 20, "ES": 24,
    "FI": 18, "FR": 27, "GB": 22, "GR": 27, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IT": 27, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "MC": 27, "MT": 31, "NL": 18, "NO": 15, "PL": 28, "PT": 25, "RO": 24, "SA": 24, "SE": 24,
    "SI": 19, "SK": 24, "TR": 26, "UA": 29,
}  # fmt: skip
"""Characters of an account number, by country."""
_SAMPLE_IBANS = {
    "DE89370400440532013000",
    "FR1420041010050500013M02606",
    "GB29NWBK60161331926819",
    "GB82WEST12345698765432",
}
"""Those that manuals show."""


def cards(text: str) -> Iterator[Finding]:
    """Card numbers of 15 or 16 digits; the detail: "card number 4…, 16 digits"."""
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match[0])
        if not stands_alone(text, match) or is_made_up(digits) or digits.startswith(_TEST_CARDS):
            continue
        context = _CARD_CONTEXT.search(text, max(0, match.start() - 40), match.start())
        if (match[1] or context) and _has_check_digit(digits):
            yield Finding(Kind.PERSONAL, match.start(), match.end(), f"card number {digits[0]}…, {len(digits)} digits")


def ibans(text: str) -> Iterator[Finding]:
    """International bank account numbers; the detail: "bank account DE…, 22 characters"."""
    for match in _IBAN.finditer(text):
        account = match[0].replace(" ", "")
        account = account[: _IBAN_LENGTHS.get(account[:2], 0)]
        if account and account not in _SAMPLE_IBANS and _is_iban(account):
            detail = f"bank account {account[:2]}…, {len(account)} characters"
            yield Finding(Kind.PERSONAL, match.start(), match.end(), detail)


def _has_check_digit(digits: str) -> bool:
    """Luhn: every second digit from the right doubled, the digits of the results add up to a multiple of ten."""
    doubled = [int(digit) * 2 for digit in digits[-2::-2]]
    total = sum(map(int, digits[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)
    return total % 10 == 0


def _is_iban(account: str) -> bool:
    """ISO 7064: with its first four characters at the end and letters as 10 to 35, the number is 1 modulo 97."""
    if len(account) != _IBAN_LENGTHS[account[:2]]:
        return False
    return int("".join(str(int(character, 36)) for character in account[4:] + account[:4])) % 97 == 1
