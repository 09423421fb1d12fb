"""Real documents that every Python brings: the topics of its language reference (`pydoc_data`, `help('with')`).

Where no corpus is at hand they are enough to try what continues text, such as explicit fusion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts, RawPrompt
from fusion.schema import hash_text


@dataclass(kw_only=True)
class PythonManual(Prompts):
    """One document a topic, in order of its name; the text is the prompt, and there is no answer."""

    max_chars: int = 0
    """Characters kept of each topic, cut at an empty line; 0: all."""
    digest: str = ""
    """Hash of all topics, which differ between versions of Python; filled in when the config is read."""

    def resolve(self) -> None:
        found = hash_text(*(text for _, text in _topics()))
        if self.digest and self.digest != found:
            raise ConfigError(
                f"prompts.digest is {self.digest}, but this Python's manual has {found}; clear the digest"
            )
        self.digest = found

    def read(self) -> Iterator[RawPrompt]:
        for name, text in _topics():
            kept = text if not self.max_chars or len(text) <= self.max_chars else _cut(text[: self.max_chars])
            messages = ({"role": "user", "content": kept},)
            yield RawPrompt(f"topics/{name}", messages, "manual", "python_manual", None)


def _topics() -> list[tuple[str, str]]:
    from pydoc_data.topics import topics

    return sorted(topics.items())


def _cut(text: str) -> str:
    whole, _, _ = text.rpartition("\n\n")
    return whole or text
