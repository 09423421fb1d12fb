"""The items of a benchmark: rows of a data set, turned into prompts by templates.

The rows are the publishers', by hub id and commit or from a local copy; the form of the prompt is the protocol's. The
two are checked apart: `content` is the hash of the rows themselves, whatever the templates make of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.prompts.base import RawPrompt
from fusion.prompts.digest import tree_digest
from fusion.prompts.hf_dataset import HfDataset
from fusion.prompts.row_template import holds, render
from fusion.prompts.rows import file_rows
from fusion.schema import prompt_id


@dataclass(frozen=True, slots=True)
class Copy:
    """What was found where a benchmark's items should be. Example: Copy(1319, "9f1c...")"""

    num_items: int
    content: str
    """Hash of the checked columns of all items, in any order."""


@dataclass(kw_only=True)
class Shots:
    """Solved examples for a few-shot prompt, taken from a data set's other split."""

    path: str = field(default="", metadata={"identity": False})
    """A local file of rows; its digest bears identity. Empty: no examples."""
    digest: str = field(default="", metadata={"absent_when": ""})
    """sha256 of the file; filled in when the config is read."""
    by: str = ""
    """Template over a row: examples go to items for which it renders the same (`{{ category }}`)."""
    num: int = 5
    """Examples of one item, in the order of the file."""


@dataclass(kw_only=True)
class Aside:
    """Rows that stand in another file, one an item: reference answers."""

    path: str = field(default="", metadata={"identity": False})
    """A local file of rows; its digest bears identity. Empty: there are none."""
    digest: str = field(default="", metadata={"absent_when": ""})
    item: str = "{{ id }}"
    """Name of the item that a row belongs to."""


@dataclass(kw_only=True)
class Items(HfDataset):
    """A benchmark's data set with the form of its prompt; `columns` is not used. Templates: `row_template`."""

    item: str = MISSING
    """Name of an item, by which stored answers find it: `{{ task_id }}`."""
    question: str = MISSING
    """The user's message. Further variables: `shots`, a list of rows, and `aside`, a row or none."""
    followup: str = ""
    """The user's second message, asked when the first is answered; empty: one turn."""
    system: str = ""
    """The system message; empty: none, so the model's own default holds."""
    reference: str = ""
    """Gold answer, options or tests, in the form that the scorer reads; empty: none (judged benchmarks)."""
    followup_reference: str = ""
    """As `reference`, of the second turn."""
    group: str = ""
    """Category of the item, for averages over categories; empty: one."""
    where: str = ""
    """Condition (a Jinja expression) that an item must meet: `level == 5`."""
    shots: Shots = field(default_factory=Shots)
    aside: Aside = field(default_factory=Aside)
    checked: list[str] = field(default_factory=list, metadata={"identity": False})
    """Columns whose content is checked; where a name is absent from a row, it does not count."""
    num_items: int = field(default=0, metadata={"identity": False})
    """How many items were published; 0: not known."""
    copies: dict[str, str] = field(default_factory=dict, metadata={"identity": False})
    """Content hash -> what that copy is. Another content is noticed in the table of results."""
    content: str = field(default="", metadata={"identity": False})
    """Content hash that the data must have; another is refused. Empty: any."""

    @property
    def is_compared(self) -> bool:
        """Whether items give continuations (`fusion.prompts.continuations`), and models say how likely they are."""
        return False

    @property
    def is_chat(self) -> bool:
        """Whether models are asked in their chat templates."""
        return True

    def resolve(self) -> None:
        if not self.path and not self.revision:
            raise ConfigError(
                f"no copy of {self.name} is at hand; set data=FOLDER to a folder that holds one, or the data's path "
                "or revision (a commit, 40 hex digits)"
            )
        super().resolve()
        for more in (self.shots, self.aside):
            if more.path:
                more.digest = tree_digest(more.path, more.digest)

    def read(self) -> Iterator[RawPrompt]:
        for key, row in self._items():
            yield self.to_prompt(row, key)

    def to_prompt(self, row: object, key: str) -> RawPrompt:
        assert isinstance(row, Mapping)
        aside = self._aside(row, key)
        question = render(self.question, row, key, shots=self._shots(row, key), aside=aside)
        reference = render(self.reference, row, key, aside=aside)
        system = [{"role": "system", "content": self.system}] if self.system else []
        return RawPrompt(
            key=render(self.item, row, key),
            messages=(*system, {"role": "user", "content": question}),
            domain=render(self.group, row, key) if self.group else "all",
            dataset=self.name,
            reference=reference or None,
        )

    def followups(self) -> dict[str, tuple[str, str | None]]:
        """prompt_id of the first turn -> second message and its reference; empty where there is one turn."""
        if not self.followup:
            return {}
        found = {}
        for key, row in self._items():
            first, aside = self.to_prompt(row, key), self._aside(row, key)
            second = render(self.followup, row, key, aside=aside)
            reference = render(self.followup_reference, row, key, aside=aside) or None
            found[prompt_id(first.messages, first.reference)] = (second, reference)
        return found

    def copy(self) -> Copy:
        """Count and content hash of the items; the same whatever file format holds them.

        Raises:
            ConfigError: it is not the content that `content` names.
        """
        lines = sorted({_checked(row, self.checked) for _, row in self._items()})
        found = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        if self.content and found != self.content:
            raise ConfigError(
                f"{self.name}: the {len(lines)} items have content {found}, not {self.content}; the data set changed. "
                f"Look at what changed, then set the benchmark's data.content={found}"
            )
        return Copy(len(lines), found)

    def _items(self) -> Iterator[tuple[str, Mapping[str, object]]]:
        """Rows that meet `where`; a row that names an item again (one line a model's answer) counts once."""
        seen: set[str] = set()
        for key, row in self.rows():
            if not isinstance(row, Mapping):
                raise ConfigError(f"{key}: expected an object with columns, got {type(row).__name__}")
            if not holds(self.where, row, key):
                continue
            name = render(self.item, row, key)
            if name not in seen:
                seen.add(name)
                yield key, row

    def _shots(self, row: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
        if not self.shots.path:
            return []
        rows = _rows_of(self.shots.path, self.shots.digest)
        wanted = render(self.shots.by, row, key)
        return [shot for name, shot in rows if render(self.shots.by, shot, name) == wanted][: self.shots.num]

    def _aside(self, row: Mapping[str, object], key: str) -> Mapping[str, object] | None:
        if not self.aside.path:
            return None
        wanted = render(self.item, row, key)
        rows = _rows_of(self.aside.path, self.aside.digest)
        return next((one for name, one in rows if render(self.aside.item, one, name) == wanted), None)


def _checked(row: Mapping[str, object], columns: list[str]) -> str:
    kept = {column: row[column] for column in columns if column in row} if columns else dict(row)
    return json.dumps(kept, ensure_ascii=False, sort_keys=True, default=str)


@cache
def _rows_of(path: str, digest: str) -> list[tuple[str, Mapping[str, object]]]:
    return [(key, row) for key, row in file_rows(Path(path)) if isinstance(row, Mapping)]
