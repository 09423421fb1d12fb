"""What the checks report."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong with a response."""

    EMPTY = "empty"
    """Nothing but white space."""
    IDENTITY = "identity"
    """It says, in the first person, that it is another model, or another maker's: "I am Qwen"."""
    REASONING = "reasoning"
    """Tags of a model's private reasoning: <think>."""
    TEMPLATE = "template"
    """Control tokens of a chat template, as text: <|im_start|>."""
    SECRET = "secret"  # noqa: S105 the name of a kind
    """A credential: an API key, a token, a private key."""
    PERSONAL = "personal"
    """A person's e-mail address, phone number, card number or bank account."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One place in a text.

    Example: Finding(Kind.SECRET, 12, 32, "AWS access key AKIA…, 20 characters")
    """

    kind: Kind
    start: int
    end: int
    """text[start:end] is what was found, in code points."""
    detail: str
    """What it is, for a person to read; secrets and personal data are shortened beyond use."""
