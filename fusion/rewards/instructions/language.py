"""The language of a reply, and its letter case.

langdetect decides, as in the published checks. It draws samples of the text at random; here from a fixed seed, so a
reply gets one verdict for ever. Where it finds no letters the instruction counts as followed, as published.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.rewards.instructions.arguments import holds

if TYPE_CHECKING:
    from langdetect.detector_factory import DetectorFactory

SEED = 0

_BETWEEN = r"\s()\[\]{}<>\"“”«»,;:@#$%&?!*"
_TOKEN = re.compile(rf"(?:[^{_BETWEEN}']|'(?!(?:s|m|d|t|ll|re|ve)\b))+|'\w+", re.IGNORECASE)
"""Words, with their hyphens, slashes and full stops; the ends 's, 'm, 'd, 't, 'll, 're, 've are words of their own."""


def response_language(reply: str, *, language: str) -> bool:
    """The reply as a whole is in the language, an ISO 639-1 code such as "de".

    The library tells zh-cn from zh-tw and knows no "zh", which therefore never holds, as published.
    """
    return _detected(reply) in (language, None)


def english_capital(reply: str) -> bool:
    """No letter is lower case, at least one is upper case, and the language is English."""
    return reply.isupper() and _detected(reply) in ("en", None)


def english_lowercase(reply: str) -> bool:
    """No letter is upper case, at least one is lower case, and the language is English."""
    return reply.islower() and _detected(reply) in ("en", None)


def capital_word_frequency(reply: str, *, capital_frequency: int, capital_relation: str) -> bool:
    """So many words without a lower case letter. "I" and "2ND" are such words; "DON'T" is two."""
    return holds(sum(word.isupper() for word in _TOKEN.findall(reply)), capital_relation, capital_frequency)


def _detected(text: str) -> str | None:
    """The most likely language; None: the text has no letters to tell it by."""
    from langdetect.lang_detect_exception import LangDetectException

    detector = _detectors().create()
    detector.seed = SEED
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


@cache
def _detectors() -> DetectorFactory:
    """The library's profiles of 55 languages: most of a second to read.

    A factory of our own: the library's global one is seeded for the whole process, and reads its files in any order.
    """
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory

    factory = DetectorFactory()
    factory.load_json_profile([path.read_text(encoding="utf-8") for path in sorted(Path(PROFILES_DIRECTORY).iterdir())])
    return factory
