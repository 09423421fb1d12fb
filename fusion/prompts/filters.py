"""Which prompts of a source are kept: by language, length, domain, and whether an answer can be checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.prompts.code_reference import holds_tests
from fusion.prompts.words import EAST_ASIAN, folded, words
from fusion.schema import Reason

if TYPE_CHECKING:
    from fusion.prompts.base import RawPrompt

_HAN = re.compile(r"[㐀-䶿一-鿿]")
_LATIN = re.compile(r"[A-Za-zÀ-ɏ]")
_LETTER = re.compile(rf"[{EAST_ASIAN}]|[^\W\d_]")


class Language(Choice):
    """By script, so French passes as English; a prompt without letters (a sum, say) passes as either."""

    ANY = "any"
    ENGLISH = "english"
    CHINESE = "chinese"


class Need(Choice):
    NOTHING = "nothing"
    REFERENCE = "reference"
    """A gold answer or tests, of whatever form."""
    TESTS = "tests"
    """A reference in a form that the code verifier reads (see `fusion.prompts.code_reference`)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a prompt does not go on; it becomes a DROP row."""

    reason: Reason
    detail: str


@dataclass(kw_only=True)
class Filters:
    """All must let a prompt pass; the first that does not gives the reason. Lengths: all user turns; 0: no bound."""

    language: Language = Language.ANY
    min_language_share: float = 0.5
    """Share of the letters that must be of the language's script: Latin, or Han (one character is one letter)."""
    min_characters: int = 0
    max_characters: int = 0
    min_words: int = 0
    """A Chinese character is a word."""
    max_words: int = 0
    exclude_domains: list[str] = field(default_factory=list)
    """Domains, as columns and tagger give them, that are left out."""
    need: Need = Need.NOTHING

    def __post_init__(self) -> None:
        if not 0 < self.min_language_share <= 1:
            raise ConfigError(f"filters.min_language_share is {self.min_language_share}; it is a share, in (0, 1]")
        for name in ("characters", "words"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low < 0 or high < 0 or (high and low > high):
                raise ConfigError(f"filters.min_{name} is {low} and max_{name} {high}; type 0 <= min <= max (0: none)")

    def refuse(self, prompt: RawPrompt) -> Refusal | None:
        """Why the prompt is left out; None: it is not."""
        if prompt.domain in self.exclude_domains:
            return Refusal(Reason.EXCLUDED_DOMAIN, prompt.domain)
        if self.need is Need.REFERENCE and not (prompt.reference or "").strip():
            return Refusal(Reason.NO_REFERENCE, "")
        if self.need is Need.TESTS and not holds_tests(prompt.reference):
            return Refusal(Reason.NO_TESTS, "no reference" if prompt.reference is None else "the reference is no test")
        text = prompt.asked
        return self._length(text) or self._language(text)

    def _length(self, text: str) -> Refusal | None:
        if not (self.min_characters or self.max_characters or self.min_words or self.max_words):
            return None
        measured = (
            (len(text), self.min_characters, self.max_characters, "characters"),
            (len(words(folded(text))), self.min_words, self.max_words, "words"),
        )
        for length, low, high, unit in measured:
            if length < low:
                return Refusal(Reason.PROMPT_TOO_SHORT, f"{length} {unit}, at least {low} are wanted")
            if high and length > high:
                return Refusal(Reason.PROMPT_TOO_LONG, f"{length} {unit}, at most {high} are wanted")
        return None

    def _language(self, text: str) -> Refusal | None:
        if self.language is Language.ANY:
            return None
        letters = len(_LETTER.findall(text))
        own = len((_HAN if self.language is Language.CHINESE else _LATIN).findall(text))
        if not letters or own / letters >= self.min_language_share:
            return None
        return Refusal(Reason.OTHER_LANGUAGE, f"{own} of {letters} letters are {self.language.value}")
