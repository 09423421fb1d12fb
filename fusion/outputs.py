"""Answers of models to a benchmark, in whatever file somebody stored them: one row an answer, found by item name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fusion.errors import ConfigError
from fusion.prompts.digest import file_digest
from fusion.prompts.row_template import holds, render
from fusion.prompts.rows import file_rows


@dataclass(frozen=True, slots=True)
class Output:
    """One stored answer. Example: Output("answers.jsonl:1", "HumanEval/9", "gemma-2-9b-it", 0, "def ...", "stop")"""

    key: str
    """Names the row in errors and drops."""
    item: str
    source: str
    sample_index: int
    text: str
    finish_reason: str


@dataclass(kw_only=True)
class Outputs:
    """A file of answers (.jsonl, .json, .parquet, also .gz). Templates are those of `fusion.prompts.row_template`.

    Example: `benchmarks.gsm8k.outputs.path=answers.jsonl.gz benchmarks.gsm8k.outputs.response='{{ output }}'`
    """

    path: str = field(default="", metadata={"identity": False})
    """The file; empty: there is none."""
    item: str = "{{ id }}"
    """Name of the item that a row answers."""
    source: str = "{{ source }}"
    """Who answered."""
    response: str = "{{ response if response is defined else text }}"
    """The answer."""
    finish_reason: str = "stop"
    """stop or length."""
    where: str = ""
    """Condition (a Jinja expression) that a row must meet: `kind == "chat"`."""
    digest: str = field(default="", metadata={"absent_when": ""})
    """sha256 of the file; filled in when the config is read."""

    def resolve(self) -> None:
        """Raises:
        ConfigError: the file is not there, or not the one that `digest` names.
        """
        if self.path:
            self.digest = file_digest(self.path, self.digest)

    def sources(self) -> list[str]:
        """Who answered, in order of first appearance; none where there is no file."""
        return list(dict.fromkeys(answer.source for answer in self.answers())) if self.path else []

    def answers(self) -> Iterator[Output]:
        """Rows in the order of the file; answers of one source to one item are numbered as they come.

        Raises:
            ConfigError: a template does not fit a row.
        """
        counts: Counter[tuple[str, str]] = Counter()
        for key, row in file_rows(Path(self.path)):
            if not isinstance(row, Mapping):
                raise ConfigError(f"{key}: expected an object with columns, got {type(row).__name__}")
            if not holds(self.where, row, key):
                continue
            item, source = render(self.item, row, key), render(self.source, row, key)
            ending = render(self.finish_reason, row, key)
            if not source or "/" in source or ending not in ("stop", "length"):
                raise ConfigError(
                    f"{key}: source is {source!r} (a name without a slash) and finish_reason {ending!r} (stop or "
                    "length); mend outputs.source or outputs.finish_reason"
                )
            yield Output(key, item, source, counts[item, source], render(self.response, row, key), ending)
            counts[item, source] += 1
