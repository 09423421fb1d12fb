"""A benchmark as data: one yaml says what is asked, how, who scores, and what others measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.evaluation.control import Control
from fusion.generators.base import Sampling
from fusion.outputs import Outputs
from fusion.prompts.items import Items
from fusion.rewards.base import Reward
from fusion.train.config import Dtype


class Metric(Choice):
    """What is made of the verdicts of one item; an item's samples are averaged first."""

    PASSED = "passed"
    """Share of samples that passed: accuracy, pass@1."""
    VALUE = "value"
    """Mean value of the scorer, between `low` and `high`: judges' marks, win rates."""
    PARTS = "parts"
    """Share of an item's parts that are right, all parts of all items alike (IFEval's instruction level)."""
    LENGTH_CONTROLLED = "length_controlled"
    """Win rate had both answers the same length (AlpacaEval 2; `length_controlled`)."""
    WIN_RATE = "win_rate"
    """Bradley-Terry win rate (Arena-Hard; `bradley_terry`): the mean value of games, of which an item is several."""
    STYLE_CONTROLLED = "style_controlled"
    """The same had both answers the same style."""

    @property
    def is_of_games(self) -> bool:
        """Whether it is a fit to games, of which an item is several."""
        return self in (Metric.WIN_RATE, Metric.STYLE_CONTROLLED)


class Average(Choice):
    """How items become a score."""

    ITEMS = "items"
    """All items alike (micro average)."""
    GROUPS = "groups"
    """Mean over groups of the mean over their items."""
    NESTED = "nested"
    """As `groups`, level by level: of `math/olympiad`, over items, then tasks, then categories (LiveBench)."""


@dataclass(kw_only=True)
class Benchmark:
    """One benchmark under one protocol. `conf/benchmark/gsm8k.yaml` is an example."""

    title: str = MISSING
    """As papers write it."""
    area: str = MISSING
    """instruction, knowledge, math or code."""
    data: Items = field(default_factory=Items)
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.0, top_p=1.0, num_samples=1))
    """Decoding; the default is greedy, one sample."""
    sampling_of: dict[str, Sampling] = field(default_factory=dict, metadata={"identity": False})
    """Decoding of models by name, for protocols that decode each family its own way."""
    dtype: Dtype = field(default=Dtype.BFLOAT16, metadata={"identity": False})
    """Precision in which models read continuations that are compared; engines have their own."""
    reward: Reward = MISSING
    """The scorer."""
    metric: Metric = Metric.PASSED
    average: Average = Average.ITEMS
    low: float = 0.0
    """Least score there can be."""
    high: float = 1.0
    """Greatest score there can be; papers print 0-1 scores as percent and 1-10 marks as they are."""
    is_judged: bool = False
    """Whether a language model judges."""
    control: Control = field(default_factory=Control)
    """What the metrics under control need."""
    outputs: Outputs = field(default_factory=Outputs, metadata={"identity": False})
    """Answers that exist; their sources are evaluated beside the models of the run."""
    published: dict[str, float] = field(default_factory=dict, metadata={"identity": False})
    """What others measured, by model (`llama31_8b/base` for a target and role); on the printed scale."""
    published_in: str = field(default="", metadata={"identity": False})
    """Where these numbers stand."""
    compared: bool = field(default=True, metadata={"identity": False})
    """Whether it counts in averages and for the gate; false for a second protocol or reading of the same items."""

    def __post_init__(self) -> None:
        if not self.high > self.low:
            raise ConfigError(f"a benchmark's high must be above its low, got {self.low} and {self.high}")

    @property
    def printed(self) -> float:
        """What a score is multiplied by when it is printed: percent for shares."""
        return 100.0 if (self.low, self.high) == (0.0, 1.0) else 1.0

    def rescaled(self, score: float) -> float:
        """The score on [0, 1]."""
        return (score - self.low) / (self.high - self.low)
