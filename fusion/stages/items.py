"""Items: from a benchmark's data set to the PROMPT table.

Unlike `ingest`, nothing is taken away for being like another: a benchmark is what was published. Only an item that is
equal to an earlier one in question and gold answer is dropped, since it is the same prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.artifact import Receipt
from fusion.errors import StepFailed
from fusion.prompts.base import RawPrompt
from fusion.prompts.items import Items
from fusion.runtime import Runtime
from fusion.schema import PROMPT, Reason, prompt_id
from fusion.work import Work


@dataclass(kw_only=True)
class ItemsConfig:
    """One benchmark's items under one form of prompt."""

    data: Items


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Output: PROMPT.

    Raises:
        ConfigError: a row does not fit a template, or the data changed.
        StepFailed: there are no items.
    """
    for work in works:
        config = work.step.config
        assert isinstance(config, ItemsConfig)
        config.data.copy()
        _commit(work, config.data)


def _commit(work: Work, data: Items) -> None:
    kept: dict[str, RawPrompt] = {}
    drops = []
    for prompt in data.read():
        earlier = kept.setdefault(prompt_id(prompt.messages, prompt.reference), prompt)
        if earlier is not prompt:
            drops.append(((prompt.key,), Reason.DUPLICATE_PROMPT, earlier.key))
    inside = {prompt.key for prompt in data.within_limit(list(kept.values()))}
    if not inside:
        raise StepFailed(f"{data.name} holds no item; look at the benchmark's data.where and data.split")
    over = [prompt for prompt in kept.values() if prompt.key not in inside]
    drops += [((prompt.key,), Reason.OVER_LIMIT, f"the first {len(inside)} are kept") for prompt in over]
    rows = [_row(own_id, prompt) for own_id, prompt in kept.items() if prompt.key in inside]
    out = work.rows_out
    out.expect({*(str(row["prompt_id"]) for row in rows), *(str(key[0]) for key, *_ in drops)})
    left = [row for row in rows if not out.is_done(str(row["prompt_id"]))]
    left_drops = [drop for drop in drops if not out.is_done(drop[0][0])]
    out.accept(Receipt(out.folder.write(PROMPT.build(left)), out.folder.write_drops(left_drops)))
    work.progress(len(rows), len(rows))


def _row(own_id: str, prompt: RawPrompt) -> dict[str, object]:
    return {
        "prompt_id": own_id,
        "messages": list(prompt.messages),
        "domain": prompt.domain,
        "dataset": prompt.dataset,
        "reference": prompt.reference,
    }
