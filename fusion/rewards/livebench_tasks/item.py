"""An item of LiveBench as a prompt's reference has it, and which of the tasks it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fusion.rewards.code_reference import BadReference
from fusion.rewards.livebench_tasks import data_analysis, language, mathematics, reasoning

RELEASE = "2024-08-31"
"""Later items ask for other forms of answers, which are judged by other rules."""
CODING = ("LCB_generation", "coding_completion")
INSTRUCTIONS = ("summarize", "paraphrase", "simplify", "story_generation")
AMPS_HARD = "AMPS_Hard"
BY_GOLD: dict[str, Callable[[str, str], float | None]] = {
    "olympiad": mathematics.olympiad,
    "web_of_lies_v2": reasoning.web_of_lies,
    "zebra_puzzle": reasoning.zebra_puzzle,
    "spatial": reasoning.spatial,
    "connections": language.connections,
    "plot_unscrambling": language.plot_unscrambling,
    "typos": language.typos,
    "cta": data_analysis.column_type,
    "tablejoin": data_analysis.table_join,
}
"""Tasks that a reply and the gold answer decide."""


@dataclass(frozen=True, slots=True)
class Item:
    """Example: Item("math_comp", "aime_i_2024", {"ground_truth": "204", ...}, "Find ...")"""

    task: str
    subtask: str
    fields: Mapping[str, object]
    """What the reference holds."""
    question: str

    @property
    def gold(self) -> str:
        """The gold answer as text; of a list, its last.

        Raises:
            BadReference: there is none.
        """
        found = self.fields.get("ground_truth")
        if isinstance(found, list) and found:
            found = found[-1]
        if found in (None, "", [], {}):
            raise BadReference(f"the item of task {self.task} has no ground_truth")
        return found if isinstance(found, str) else repr(found)

    def value(self, reply: str) -> float | None:
        """How much of a reply is right, 0 to 1; None: it states no answer.

        Raises:
            BadReference: the gold answer cannot be read, or no such task is known.
        """
        if self.task in BY_GOLD:
            return BY_GOLD[self.task](reply, self.gold)
        if self.task == "tablereformat":
            return data_analysis.table_reformat(reply, self.gold, self.question)
        words = self.subtask.split("_")
        if self.task == "math_comp" and "aime" in words:
            return mathematics.contest_number(reply, self.gold)
        if self.task == "math_comp" and {"amc", "smc"} & {*words}:
            return mathematics.contest_letter(reply, self.gold, self.question)
        raise BadReference(f"LiveBench's task {self.task!r}, subtask {self.subtask!r}, has no rules here")


def parsed_item(reference: str | None, question: str) -> Item | None:
    """The item, or None where the reference is another verifier's.

    Args:
        reference: JSON object with `task`, `release`, and what the task needs: `subtask`, `ground_truth`, the columns
            of `contest_cases` and `partial_solution`, or those of `instruction_checks`.

    Raises:
        BadReference: the item is of a later release.
    """
    try:
        fields = json.loads(reference or "")
    except ValueError:
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("task"), str):
        return None
    release = str(fields.get("release") or "")
    if release[:10] > RELEASE:
        raise BadReference(f"the item is of LiveBench's release {release[:10]}, rules are those of {RELEASE}")
    return Item(fields["task"], str(fields.get("subtask") or ""), fields, question)
