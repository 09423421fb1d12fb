"""What all judges have in common, wherever their replies come from."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.judging.judge_model import Asking, JudgeModel, Replies
from fusion.judging.template import read_template
from fusion.judging.verdict import Verdicts
from fusion.rewards.base import Reward
from fusion.schema import prompt_id
from fusion.spending import anchored
from fusion.stored import StoredResponses

if TYPE_CHECKING:
    from fusion.judging.scorer import JudgeScorer


class Mode(Enum):
    """What is judged at a time."""

    POINTWISE = "pointwise"
    PAIRWISE = "pairwise"


@dataclass(kw_only=True)
class Judging(Reward):
    """The judge's value: a number from `low` to `high`, or the share of a win over the baseline.

    Pairwise it compares in both orders, because judges favour a place: if the orders agree the value is 1 (better),
    0 (worse) or 0.5 (neither), if they disagree it is 0.5 and the detail says so. With five verdicts each order is
    games of its own, a strong verdict three of them (Arena-Hard's): the value is their mean, the detail says how many
    they are. A row that cannot be judged is an error (a timeout where the judge was silent), never a number.

    Example: mode PAIRWISE, value 0.5, detail "first: win, second: loss; the orders disagree"
    Example: verdicts FIVE, value 0.25, detail "first: win, second: strong loss; the orders disagree; games 2"
    """

    mode: Mode = Mode.POINTWISE
    verdicts: Verdicts = field(default=Verdicts.THREE, metadata={"absent_when": Verdicts.THREE})
    """Pairwise: what the judge may say; the template must ask for the same."""
    template: str = field(default="", metadata={"identity": False})
    """Jinja file, or the name of one in fusion/judging/templates; empty: the mode's own, of five verdicts Arena-Hard's.
    See `fusion.judging.template`."""
    template_text: str = ""
    """What the file holds; filled in when the config is read."""
    low: float = 1.0
    high: float = 10.0
    """Range of a pointwise score."""
    weighted: bool = False
    """The mean of all verdicts under the judge's probabilities, which its engine must report."""
    pass_from: float | None = None
    """Value from which an answer passes, below it fails; null: the judge only measures."""
    show_reference: bool = True
    """Show the judge the prompt's gold answer, where there is one and it is no baseline."""
    baseline: StoredResponses | None = None
    """Pairwise: answers to compare with, one a prompt (the first); null: the prompts' references are the baseline."""
    baseline_source: str = ""
    """Whose of these answers; empty: anybody's."""
    domains: list[str] = field(default_factory=list)
    """Judge prompts of these domains; empty: of all."""
    temperature: float | None = 0.0
    """null: not sent, for models that refuse it."""
    max_new_tokens: int = 1024
    attempts: int = 3
    """Replies asked for, the first included, until one can be read."""
    repeats: int = field(default=1, metadata={"absent_when": 1})
    """Judgements of the same words, each kept; the mean counts, so orders that disagree are averaged too."""
    cache: str = field(default="~/.cache/fusion/judgements", metadata={"identity": False})
    """Folder or URL of judgements; workers on several machines save work if all see it."""

    def __post_init__(self) -> None:
        self.cache = anchored(self.cache)
        limits = {
            "high": (self.high > self.low, f"above low ({self.low:g})"),
            "attempts": (self.attempts >= 1, "at least 1"),
            "repeats": (self.repeats >= 1, "at least 1"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "temperature": (self.temperature is None or self.temperature >= 0, "at least 0, or null"),
            "baseline_source": (not self.baseline_source or self.baseline is not None, "empty without a baseline"),
            "verdicts": (
                not self.says_five or (self.mode is Mode.PAIRWISE and not self.weighted),
                "THREE unless mode=PAIRWISE and weighted=false (the five are several tokens each)",
            ),
        }
        for name, (is_ok, wanted) in limits.items():
            if not is_ok:
                raise ConfigError(f"rewards.judge.{name} must be {wanted}, got {getattr(self, name)}")
        if self.weighted and self.mode is Mode.POINTWISE and (self.low % 1 or self.high % 1):
            raise ConfigError("rewards.judge.weighted=true needs whole numbers as low and high: each is one verdict")
        if self.repeats > 1 and self.temperature == 0:
            raise ConfigError(
                f"rewards.judge.repeats={self.repeats} asks the same greedy judge again, which says the same; set "
                "rewards.judge.temperature above 0, or repeats=1"
            )

    @property
    def is_verifier(self) -> bool:  # type: ignore[override]
        """Whether it says pass and fail."""
        return self.pass_from is not None

    @property
    def says_five(self) -> bool:
        return self.verdicts is Verdicts.FIVE

    @property
    def averages_orders(self) -> bool:
        """Whether orders that disagree are averaged: what disagrees is no single verdict, or each is its own games."""
        return self.weighted or self.repeats > 1 or self.says_five

    def resolve(self) -> None:
        answers = ("answer",) if self.mode is Mode.POINTWISE else ("answer_a", "answer_b")
        own = "arena_hard" if self.says_five else self.mode.value
        self.template_text = read_template(self.template, own, answers)
        asked = Verdicts.FIVE if "[[A>>B]]" in self.template_text else Verdicts.THREE
        if asked is not self.verdicts:
            raise ConfigError(
                f"the judge's template {self.template or own} asks for {asked.value} verdicts, and "
                f"rewards.judge.verdicts={self.verdicts.name} reads {self.verdicts.value}; set verdicts={asked.name}, "
                "or rewards.judge.template to one that asks for these"
            )
        if self.baseline is not None:
            self.baseline.resolve()

    @contextmanager
    def scoring(self, replies: Replies, concurrency: int) -> Iterator[JudgeScorer]:
        """The scorer, while `replies` is open.

        Args:
            concurrency: requests in flight.

        Raises:
            ConfigError: the baseline cannot be read.
        """
        from fusion.judging.scorer import JudgeScorer  # it knows this class

        asking = Asking(attempts=self.attempts, repeats=self.repeats, cache=self.cache)
        baselines = None if self.baseline is None else _baselines(self.baseline, self.baseline_source)
        threads = ThreadPoolExecutor(concurrency, "judge")
        try:
            yield JudgeScorer(self, JudgeModel(replies, asking), baselines, threads)
        finally:
            threads.shutdown(cancel_futures=True)


def _baselines(stored: StoredResponses, source: str) -> dict[str, str]:
    """Hash of a prompt's messages -> the first answer to it."""
    found: dict[str, str] = {}
    for answer in stored.answers():
        if not source or answer.source == source:
            found.setdefault(prompt_id(answer.prompt.messages, None), answer.text)
    if not found:
        raise ConfigError(f"{stored.path} holds no answers of {source!r}; set rewards.judge.baseline_source")
    return found
