"""Candidates for tests of rewards."""

from __future__ import annotations

from fusion.rewards.base import Candidate


def candidate(
    text: str,
    reference: str | None = None,
    prompt: str = "What is 3 + 4?",
    domain: str = "math",
    finish_reason: str = "stop",
    sample_index: int = 0,
) -> Candidate:
    messages = ({"role": "user", "content": prompt},)
    return Candidate("p0", messages, domain, "tests", reference, "tiny", sample_index, text, finish_reason)
