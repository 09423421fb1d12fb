r"""Verifies multiple choice: the letter that a reply chooses, of up to ten options (A to J).

The choice is read from the first of these forms that names an option, by its letter or by its whole text:

1. JSON `"answer": "B"`, `\boxed{B}`, `<answer>B</answer>` or `#### B` (see `stated_answer`).
2. "The answer is (B)", "Answer: B", "the correct option is B": the first such place. Replies to few-shot prompts go on
   to questions of their own and answer these; where 57 real replies stated different letters, the first was right 34
   times and the last 2 times.
3. The last line: `B`, `(B)`, `**B**`, `B.`, or the text of an option, with its letter or without.
4. The last claim that ends on a letter in brackets: "the most likely fate is (F)", "so choose option (F)."

Several letters ("the answer is (B, C)") are no choice, nor is the list of all options ("Answer:\nA. first\nB. second").

A reply that was cut off is read by 1 and 2 only. No letter is guessed, unless `guess` says so. With another `reading`
the letter is found as a benchmark's authors find it (see `published_choice`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from fusion.choice import Choice
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.published_choice import published_choice
from fusion.rewards.stated_answer import Form, stated_answer
from fusion.schema import Outcome, hash_text
from fusion.step import Placement

LETTERS = "ABCDEFGHIJ"

_STATEMENT = re.compile(
    r"(?:\banswer\b|\b(?:correct|right|best) (?:option|choice)\b)[\"'”*_]*\s*"
    r"(?:is|are|:|=|：|would be|should be|must be)|答案[*]*(?:是|为|应为|选|：|:)",
    re.IGNORECASE,
)
_STATED_LETTER = re.compile(rf"(?i:{_STATEMENT.pattern})[\s*]*[(\[]?([A-J])\b")
_LETTER = re.compile(
    r"[\s*_:\"'$]*(?:(?:option|choice|letter)\s+)?(?:\\(?:text|textbf|mathrm|mathbf)\s*\{)?[\s*_\"'$]*"
    # In brackets, or before punctuation or the end; "A" and "I" are words too, so not before just any word.
    r"(?:[(\[]\s*([A-J])\s*(?:[)\]]|$)|([A-J])(?=\s*(?:[).,:;*_\"'$}\]]|\n|$|\(|[-–—]\s)|\s+(?:because|since|as|which)\b)"
    r"|([B-HJ])(?=\s+\w))"
)
_CLAIM = re.compile(
    r"(?:\b(?i:is|are|be|option|choice|choose|select|thus|therefore|so)|:)[\s*]*\(([A-J])\)"
    r"[*]*(?=\s*(?:[.,;:!\n]|$)|\s+(?:because|since|as)\b)"
)
_LINE_LETTER = re.compile(r"[\s*_#>]*[(\[]?([A-J])[)\].:*_\s]*")
_PREFIX = re.compile(r"[\s*_#>]*[(\[]?[A-J][)\].:]+")
_SEVERAL = re.compile(r"[)\]*]*\s*(?:,|and|or|&)\s*(?:and\s|or\s)?\s*[(\[]?[A-J]\b(?!['’]| \w)")
_OPTIONS_GO_ON = re.compile(r"[^\n]*\n\s*[(\[]?B[)\].:]")
_ANY_LETTER = re.compile(r"\b[A-J]\b")


class Guess(StrEnum):
    """What to make of a reply that chooses nothing. Published protocols guess, which lifts weak models."""

    NONE = "none"
    """It fails: no answer found."""
    LETTER = "letter"
    """The first of several letters that it states, else the last letter from A to J that stands alone."""
    RANDOM = "random"
    """As `letter`, else an option drawn by the prompt's id."""


class Reading(Choice):
    """Which letter of a reply is its choice."""

    STATED = "stated"
    """The one that it states, in one of the forms above."""
    PUBLISHED = "published"
    """The one that MMLU-Pro's script takes."""
    PUBLISHED_FIRST = "published_first"
    """The one that the script's first expression takes, by which its earliest outputs were read."""


@dataclass(kw_only=True)
class ChoiceAnswer(Reward):
    """Pass or fail with value 1 or 0; "no answer found" is a fail.

    The reference is a letter, or `{"answer": "B", "options": ["first", "second"]}`, with which a reply may also name
    the option's text.

    Example: reference "B", reply "It reflects light. The answer is (B).": pass
    """

    is_verifier: ClassVar[bool] = True

    domains: list[str] = field(default_factory=list)
    """Verify prompts of these domains; empty: of all. A reference "C" elsewhere may be a set or a name."""
    guess: Guess = Guess.NONE
    reading: Reading = field(default=Reading.STATED, metadata={"absent_when": Reading.STATED})

    def choice(self, candidate: Candidate, options: Sequence[str]) -> str | None:
        """The letter that is read, before anything is guessed."""
        if self.reading is Reading.STATED:
            return chosen(candidate.text, options, candidate.finish_reason == "length")
        return published_choice(candidate.text, is_first_only=self.reading is Reading.PUBLISHED_FIRST)

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        yield _ChoiceScorer(self)


class _ChoiceScorer:
    def __init__(self, config: ChoiceAnswer) -> None:
        self._config = config

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        reference = parsed_choice(candidate.reference)
        if reference is None:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no multiple-choice reference")
        if self._config.domains and candidate.domain not in self._config.domains:
            return Score(Outcome.NOT_APPLICABLE, None, f"domain {candidate.domain} is not verified")
        expected, options = reference
        choice, verb = self._config.choice(candidate, options), "answered"
        if choice is None and self._config.guess is not Guess.NONE:
            choice, verb = _guessed(candidate, options, self._config.guess), "guessed"
        if choice is None:
            return Score(Outcome.FAIL, 0.0, f"no answer found, expected {expected}")
        if choice == expected:
            return Score(Outcome.PASS, 1.0, "guessed" if verb == "guessed" else None)
        return Score(Outcome.FAIL, 0.0, f"{verb} {choice}, expected {expected}")


def parsed_choice(reference: str | None) -> tuple[str, list[str]] | None:
    """The letter and the options (none where they are not given) of a reference; None for any other reference.

    Example: parsed_choice("B") == ("B", [])
    """
    text = (reference or "").strip()
    if re.fullmatch(f"[{LETTERS}]", text):
        return text, []
    try:
        found = json.loads(text)
    except ValueError:
        return None
    match found:
        case {"answer": str(letter), "options": [*options]} if letter in list(LETTERS[: len(options)]):
            return letter, [str(option) for option in options]
    return None


def chosen(reply: str, options: Sequence[str] = (), is_cut_off: bool = False) -> str | None:
    """The letter that a reply chooses, or None.

    Example: chosen("The capital is Rome.\\n\\n**C**") == "C"
    """
    stated = stated_answer(reply)
    if stated and stated.form is not Form.STATEMENT and (letter := _named(stated.text, options)):
        return letter
    for statement in _STATEMENT.finditer(reply):
        if letter := _named(reply[statement.end() :], options):
            return letter
    if is_cut_off:
        return None
    line = reply.strip().rsplit("\n", maxsplit=1)[-1]
    if (match := _LINE_LETTER.fullmatch(line)) and _is_option(match[1], options):
        return match[1]
    if letter := _by_text(line, options) or _by_text(_PREFIX.sub("", line), options):
        return letter
    claims = [letter for letter in _CLAIM.findall(reply) if _is_option(letter, options)]
    return claims[-1] if claims else None


def _named(text: str, options: Sequence[str]) -> str | None:
    """The option that a text begins with: its letter, or its whole text as a line or a sentence."""
    if match := _LETTER.match(text):
        letter = match[1] or match[2] or match[3]
        is_one = not _SEVERAL.match(text, match.end()) and not (
            letter == "A" and _OPTIONS_GO_ON.match(text, match.end())
        )
        is_one = is_one and _is_option(letter, options)
        return letter if is_one else None
    line = text.strip().split("\n", maxsplit=1)[0]
    return _by_text(line, options) or _by_text(re.split(r"[.!?]\s", line, maxsplit=1)[0], options)


def _is_option(letter: str, options: Sequence[str]) -> bool:
    return letter in LETTERS[: len(options) or len(LETTERS)]


def _by_text(text: str, options: Sequence[str]) -> str | None:
    wanted = _bare(text)
    found = [letter for letter, option in zip(LETTERS, options, strict=False) if wanted and _bare(option) == wanted]
    return found[0] if len(found) == 1 else None


def _bare(text: str) -> str:
    return re.sub(r"[\s*_$\\{}\"'`]+", " ", text).strip(" .,:;").casefold()


def _guessed(candidate: Candidate, options: Sequence[str], guess: Guess) -> str | None:
    stated = [match[1] for match in _STATED_LETTER.finditer(candidate.text) if _is_option(match[1], options)]
    if stated:
        return stated[0]
    letters = [letter for letter in _ANY_LETTER.findall(candidate.text) if _is_option(letter, options)]
    if letters or guess is Guess.LETTER:
        return letters[-1] if letters else None
    available = LETTERS[: len(options) or len(LETTERS)]
    return available[int(hash_text(candidate.prompt_id), 16) % len(available)]
