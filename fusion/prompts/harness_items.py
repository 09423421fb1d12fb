"""The items of a task of lm-evaluation-harness, asked as chat messages.

The library builds each question with its description and examples; we hand it a chat template that only lists the
messages, so that a model's own template is applied once, by `fusion.chat`. Templates over a row (`item`, `group`,
`where`) see `task`, `doc_id` and `doc`, the names by which the library logs its samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from fusion.errors import ConfigError
from fusion.prompts.base import RawPrompt
from fusion.prompts.harness_task import HarnessTask, doc_hash
from fusion.prompts.items import Items
from fusion.prompts.row_template import render
from fusion.prompts.rows import Row

MARK = "lm_eval"
"""The key of a reference that names its task; no other reference has it."""


@dataclass(kw_only=True)
class HarnessItems(Items):
    """Questions of one task, or of all tasks of a group. `question`, `reference`, `path` and the like are not used."""

    task: HarnessTask = field(default_factory=HarnessTask)
    multiturn: bool = True
    """Examples are turns of their own, as the library has it for chat models; false: they stand in the question."""
    item: str = "{{ task }}/{{ doc_id }}"
    question: str = ""
    group: str = "{{ task }}"
    checked: list[str] = field(default_factory=lambda: ["task", "doc_id", "doc"], metadata={"identity": False})

    def resolve(self) -> None:
        if self.path or self.revision:
            raise ConfigError("a task's data is given by data.task.data_files or data.task.dataset_path")
        self.task.resolve()

    def rows(self) -> Iterator[Row]:
        settings = json.dumps([self.task.fewshot_seed, self.system, self.multiturn])
        for name, task in self.task.load().items():
            for doc_id, (doc, messages) in enumerate(_asked(task, settings)):
                yield f"{name}:{doc_id}", {"task": name, "doc_id": doc_id, "doc": doc, "messages": messages}

    def to_prompt(self, row: object, key: str) -> RawPrompt:
        assert isinstance(row, Mapping)
        reference = {MARK: row["task"], "doc_id": row["doc_id"], "doc_hash": doc_hash(row["doc"])}
        return RawPrompt(
            key=render(self.item, row, key),
            messages=tuple(row["messages"]),
            domain=render(self.group, row, key),
            dataset=self.name,
            reference=json.dumps(reference),
        )


@cache
def _asked(task: object, settings: str) -> Sequence[tuple[Mapping[str, object], list[dict[str, str]]]]:
    """Each question and its messages. Examples are drawn one question after another, so all are asked for."""
    fewshot_seed, system, multiturn = json.loads(settings)
    task.set_fewshot_seed(seed=fewshot_seed)  # type: ignore[attr-defined]
    asked = []
    for doc in task.task_docs:  # type: ignore[attr-defined]
        listed = task.fewshot_context(  # type: ignore[attr-defined]
            doc,
            num_fewshot=task.config.num_fewshot,  # type: ignore[attr-defined]
            system_instruction=system or None,
            apply_chat_template=True,
            fewshot_as_multiturn=multiturn,
            chat_template=_listed,
        )
        asked.append((doc, json.loads(listed)))
    return asked


def _listed(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
    assert add_generation_prompt, "no answer is begun for the model"
    return json.dumps(messages)
