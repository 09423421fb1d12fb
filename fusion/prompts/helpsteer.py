"""Prompts of HelpSteer and HelpSteer2, which write whole conversations into one column."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from fusion.prompts.base import RawPrompt
from fusion.prompts.hf_dataset import HfDataset

_MARK = re.compile(r"\s*<extra_id_1>(Assistant|User)\n")


@dataclass(kw_only=True)
class HelpSteer(HfDataset):
    """A hub data set whose prompt column reads `first question <extra_id_1>Assistant answer <extra_id_1>User next`.

    The data set card says so (each name followed by a line break). The prompt is the whole history (arXiv 2503.04222
    does not say whether it was kept).
    """

    name: str = "nvidia/HelpSteer2"

    def to_prompt(self, row: object, key: str) -> RawPrompt:
        prompt = super().to_prompt(row, key)
        if len(prompt.messages) != 1:
            return prompt
        first, *rest = _MARK.split(prompt.messages[0]["content"])
        messages = [{"role": "user", "content": first}]
        for speaker, text in zip(rest[::2], rest[1::2], strict=True):
            messages.append({"role": speaker.lower(), "content": text})
        while messages and messages[-1]["role"] != "user":
            messages.pop()
        return replace(prompt, messages=tuple(messages))
