"""The items of a task of lm-evaluation-harness, asked as chat messages or as plain text.

The library builds each question with its description and examples; we hand it a chat template that only lists the
messages, so that a model's own template is applied once, by `fusion.chat`. What models answer in words is asked so; of
given continuations the library compares how likely they are after plain text, and after messages where `chat` says so.
Templates over a row (`item`, `group`, `where`) see `task`, `doc_id` and `doc`, the names by which the library logs its
samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from fusion.errors import ConfigError
from fusion.prompts import continuations
from fusion.prompts.base import RawPrompt
from fusion.prompts.continuations import Context
from fusion.prompts.harness_index import COMPARED
from fusion.prompts.harness_task import HarnessTask, doc_hash
from fusion.prompts.items import Items
from fusion.prompts.row_template import render
from fusion.prompts.rows import Row

MARK = "lm_eval"
"""The key of a reference that names its task; no other reference has it."""


@dataclass(frozen=True, slots=True)
class _Question:
    doc: Mapping[str, object]
    context: Context
    """Of several, the first."""
    pairs: tuple[tuple[Context, str], ...]
    """Contexts and continuations to compare; none: it is answered in words."""


@dataclass(kw_only=True)
class HarnessItems(Items):
    """Questions of one task, or of all tasks of a group. `question`, `reference`, `path` and the like are not used."""

    task: HarnessTask = field(default_factory=HarnessTask)
    multiturn: bool = True
    """Examples are turns of their own, as the library has it for chat models; false: they stand in the question."""
    chat: bool = field(default=False, metadata={"absent_when": False})
    """Of given continuations: how likely the model's answer begins so, in its own chat template (the library's
    --apply_chat_template). False: how likely a text goes on so, as the library has it where nothing is said. Questions
    that are answered in words are asked in chat."""
    item: str = "{{ task }}/{{ doc_id }}"
    question: str = ""
    group: str = "{{ task }}"
    checked: list[str] = field(default_factory=lambda: ["task", "doc_id", "doc"], metadata={"identity": False})

    def resolve(self) -> None:
        if self.path or self.revision:
            raise ConfigError("a task's data is given by data.task.data_files or data.task.dataset_path")
        self.task.resolve()
        begun = [name for name, task in self.task.load().items() if task.config.gen_prefix]
        if begun and self.chat:
            raise ConfigError(
                f"task {begun[0]} begins the answer for the model (gen_prefix), which a chat template ends; leave "
                "data.chat out"
            )

    @property
    def is_compared(self) -> bool:
        return self.task.is_compared

    @property
    def is_chat(self) -> bool:
        return self.chat or not self.is_compared

    def rows(self) -> Iterator[Row]:
        settings = json.dumps([self.task.fewshot_seed, self.system, self.multiturn, self.is_chat])
        for name, task in self.task.load().items():
            for doc_id, one in enumerate(_asked(task, settings)):
                row = {"task": name, "doc_id": doc_id, "doc": one.doc, "context": one.context, "pairs": one.pairs}
                yield f"{name}:{doc_id}", row

    def to_prompt(self, row: object, key: str) -> RawPrompt:
        assert isinstance(row, Mapping)
        reference = {MARK: row["task"], "doc_id": row["doc_id"], "doc_hash": doc_hash(row["doc"])}
        if row["pairs"]:
            reference[continuations.KEY] = continuations.listed(row["pairs"])
        context = row["context"]
        return RawPrompt(
            key=render(self.item, row, key),
            messages=({"role": "user", "content": context},) if isinstance(context, str) else tuple(context),
            domain=render(self.group, row, key),
            dataset=self.name,
            reference=json.dumps(reference),
        )


@cache
def _asked(task: Any, settings: str) -> Sequence[_Question]:
    """Examples are drawn one question after another, so all are asked for."""
    fewshot_seed, system, multiturn, is_chat = json.loads(settings)
    task.set_fewshot_seed(seed=fewshot_seed)
    asked = []
    for doc in task.task_docs:
        context = task.fewshot_context(
            doc,
            num_fewshot=task.config.num_fewshot,
            system_instruction=system or None,
            apply_chat_template=is_chat,
            fewshot_as_multiturn=multiturn,
            chat_template=_listed if is_chat else None,
            gen_prefix=task.doc_to_prefix(doc),
        )
        pairs = _pairs(task, doc, context, is_chat) if task.OUTPUT_TYPE in COMPARED else ()
        asked.append(_Question(doc, pairs[0][0] if pairs else _read(context, is_chat), pairs))
    return asked


def _pairs(task: Any, doc: object, context: object, is_chat: bool) -> tuple[tuple[Context, str], ...]:
    made = task.construct_requests(doc=doc, ctx=context, apply_chat_template=is_chat, chat_template=_listed)
    requests = made if isinstance(made, list) else [made]
    return tuple((_read(one.args[0], is_chat), one.args[1]) for one in requests)


def _read(context: str, is_chat: bool) -> Context:
    """Messages from the list that `_listed` made of them; without a context there is none."""
    return json.loads(context) if is_chat and context else context


def _listed(messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
    assert add_generation_prompt, "no answer is begun for the model"
    return json.dumps(messages)
