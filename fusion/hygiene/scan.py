"""Looks over one response before it is used as a training example.

Each check is precise rather than complete: what it finds is wrong nearly always, and some of what is wrong it does not
find. What stands in the prompt too is not the response's own and is left alone: a letter that repeats the address it
was given, an explanation of <think> that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from fusion.hygiene.credentials import credentials
from fusion.hygiene.finding import Finding, Kind
from fusion.hygiene.identity import identities
from fusion.hygiene.markup import reasoning, template_tokens
from fusion.hygiene.personal import personal_data


def scan(text: str, prompt: str = "", own_names: Sequence[str] = ()) -> list[Finding]:
    """All that is wrong with `text`, by position; an empty list: nothing was found.

    Args:
        prompt: what was asked; what it holds word for word is not reported.
        own_names: the names that the model which is to learn from `text` may call itself and its maker, in any case,
            such as ["Llama", "Meta"]. A source's own name is another model's to the target.

    Example: scan("I am Qwen.") == [Finding(Kind.IDENTITY, 0, 9, "I am Qwen")]
    """
    if not text.strip():
        return [Finding(Kind.EMPTY, 0, len(text), f"{len(text)} characters of white space")]
    found = [
        *identities(text, own_names),
        *reasoning(text),
        *template_tokens(text),
        *credentials(text),
        *personal_data(text),
    ]
    own = [finding for finding in found if not _is_asked_for(finding, text, prompt)]
    return sorted(own, key=lambda finding: (finding.start, finding.end, finding.kind))


def folded(text: str) -> str:
    """The text with each run of white space as one space and none at the ends: equal for duplicates in all but layout.

    Example: folded("Yes.\\n\\n  No. ") == "Yes. No."
    """
    return " ".join(text.split())


def _is_asked_for(finding: Finding, text: str, prompt: str) -> bool:
    """Reasoning is known by its tag: the prompt that asks for it cannot hold it."""
    words = text[finding.start : finding.end]
    if finding.kind is Kind.REASONING:
        words = finding.detail.split()[0]
    return words in prompt
