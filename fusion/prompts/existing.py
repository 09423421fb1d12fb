"""Answers that a data set of prompts already holds, under the ids that its prompts have.

OpenMathInstruct-2 has a solution of Llama-3.1-405B beside each problem, which FuseChat-3.0 uses as one more source. A
prompt's id is made from its messages and reference alone, so the same data set, read by the same config, finds the
prompt again after duplicates, filters and the split; an answer whose prompt was dropped is simply not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from fusion.errors import ConfigError
from fusion.prompts.base import Prompts
from fusion.schema import prompt_id


def existing_responses(prompts: Prompts) -> Iterator[tuple[str, str]]:
    """(prompt_id, answer) of every row that has one, in the order of the data set; a prompt may occur several times.

    Args:
        prompts: a source whose `columns.response` names the column of answers.

    Raises:
        ConfigError: no row has an answer.
    """
    found = False
    for prompt in prompts.read():
        if prompt.response:
            found = True
            yield prompt_id(prompt.messages, prompt.reference), prompt.response
    if not found:
        raise ConfigError(
            f"{type(prompts).__name__} holds no answers; set columns.response to the column that has them"
        )
