"""Next turn: the conversation so far, with one model's answer in it, and the user's second message.

For benchmarks of two turns. Each model has its own prompts here, since each gave its own first answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusion.artifact import Receipt
from fusion.prompts.items import Items
from fusion.runtime import Runtime
from fusion.schema import PROMPT, Reason, prompt_id
from fusion.work import Work


@dataclass(kw_only=True)
class NextTurnConfig:
    """Whose second messages."""

    data: Items


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Inputs: `prompts` (first turn), `responses` (of one model; the first sample counts). Output: PROMPT.

    An item without a first answer is dropped.
    """
    for work in works:
        config = work.step.config
        assert isinstance(config, NextTurnConfig)
        followups = config.data.followups()
        answers = work.table_in("responses").read(["text"]).to_pylist()
        first = {row["prompt_id"]: row["text"] for row in answers if row["sample_index"] == 0}
        rows, drops = [], []
        for row in work.table_in("prompts").read(["messages", "domain", "dataset"]).to_pylist():
            answer = first.get(row["prompt_id"])
            if answer is None:
                drops.append(((row["prompt_id"],), Reason.NO_RESPONSE, "the first turn was not answered"))
            else:
                rows.append(_row(row, answer, *followups[row["prompt_id"]]))
        out = work.rows_out
        out.expect({*(str(row["prompt_id"]) for row in rows), *(str(key[0]) for key, *_ in drops)})
        left = [row for row in rows if not out.is_done(str(row["prompt_id"]))]
        left_drops = [drop for drop in drops if not out.is_done(str(drop[0][0]))]
        out.accept(Receipt(out.folder.write(PROMPT.build(left)), out.folder.write_drops(left_drops)))
        work.progress(len(rows), len(rows))


def _row(row: Mapping[str, object], answer: str, message: str, reference: str | None) -> dict[str, object]:
    before = row["messages"]
    assert isinstance(before, list)
    said = [{"role": "assistant", "content": answer}, {"role": "user", "content": message}]
    messages = [*before, *said]
    return {
        "prompt_id": prompt_id(messages, reference),
        "messages": messages,
        "domain": row["domain"],
        "dataset": row["dataset"],
        "reference": reference,
    }
