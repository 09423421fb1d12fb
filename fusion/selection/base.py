"""The contract of a selection rule, over a table of scored responses.

A rule says which rows may be the SFT answer, the chosen and the rejected answer; what follows is the same for all rules
and is in `fusion.selection.pairs`: within each prompt the SFT answer is the eligible row with the highest ranking
reward over all sources, a pair is the highest eligible chosen and the lowest eligible rejected row of one source, its
margin must lie in a window, one source's pair is kept, and each prompt goes to one phase.

The frame has one row a response:
    prompt_id, dataset, domain, source, source_order, sample_index, finish_reason, length (characters), folded (hash of
    the text with whitespace folded), and outcome:<reward>, value:<reward> for every reward.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fusion.choice import Choice
from fusion.errors import ConfigError
from fusion.selection.verdicts import OTHER, Verdicts

if TYPE_CHECKING:
    import polars as pl


RECORDED = "recorded"


class PairPolicy(Choice):
    """Whose answers may form a pair."""

    SAME_SOURCE = "same_source"
    """Chosen and rejected of one source: reward differences between families carry style (METHODS 7.5)."""
    CROSS_SOURCE = "cross_source"
    """Best and worst over all sources, of two different sources."""
    ALL = "all"
    """Best and worst over all sources, the same or not."""


class SourcePair(Choice):
    """Which source's pair is kept when several sources have one; the paper leaves it open."""

    BEST_SOURCE = "best_source"
    """The source that owns the highest chosen reward among valid pairs."""
    LARGEST_GAP = "largest_gap"
    RANDOM = "random"
    """Seeded by prompt id."""
    ALL = "all"
    """Every source's pair."""


class WindowScale(Choice):
    VALUE = "value"
    """Bounds are on the reward's own scale; 0.01 to 0.1 is ArmoRM's (FuseChat-3.0 section 3.3)."""
    QUANTILE = "quantile"
    """Bounds are quantiles of the positive margins in this data: the way to carry a window to another reward."""


@dataclass(kw_only=True)
class Window:
    """Margins (chosen minus rejected) that make a pair: low <= margin <= high and margin > 0."""

    low: float = 0.01
    high: float = 0.10
    scale: WindowScale = WindowScale.VALUE

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ConfigError(f"selection.window.low is {self.low}, above high ({self.high}); swap them")
        if self.scale is WindowScale.QUANTILE and not 0 <= self.low <= self.high <= 1:
            raise ConfigError(f"selection.window is [{self.low}, {self.high}]; quantiles lie in [0, 1]")


class WithoutPair(Choice):
    """Where a prompt goes that has an SFT answer but no valid pair."""

    SFT = "sft"
    DROP = "drop"
    DROP_UNLESS_ALL = "drop_unless_all"
    """Dropped; but a data set none of whose prompts has a pair (one answer a source, say) trains SFT whole."""


@dataclass(kw_only=True)
class Split:
    """Which phase a prompt trains in; a prompt and its near-duplicates sit in one phase only.

    Instruction data of the paper: sft_frac 0.4, without_pair drop (filter first, then 4:6 within each data set, which
    gives its published counts from its published totals). Mathematics and code: sft_frac 0, without_pair sft.
    """

    sft_frac: float = 0.4
    """Share of the prompts with a valid pair that train SFT, per data set; the first int(share * N) by seeded hash."""
    without_pair: WithoutPair = WithoutPair.DROP

    def __post_init__(self) -> None:
        if not 0 <= self.sft_frac <= 1:
            raise ConfigError(f"selection.split.sft_frac is {self.sft_frac}; it is a share, in [0, 1]")


@dataclass(kw_only=True)
class Selection(ABC):
    """Base of all selection rules."""

    rank_by: str = "armorm"
    """Name of the reward whose value ranks answers; empty: none, all are equal; recorded: the one that came with
    stored answers."""
    pair_policy: PairPolicy = PairPolicy.SAME_SOURCE
    source_pair: SourcePair = SourcePair.BEST_SOURCE
    window: Window = field(default_factory=Window)
    split: Split = field(default_factory=Split)
    truncated_rejected: bool = False
    """Whether an answer that hit the token limit may be a rejected one; a model then learns "shorter is better"."""
    clean_by: list[str] = field(default_factory=list)
    """Names of verifiers whose fail takes an answer out altogether: it may neither win nor lose."""
    seed: int = 42
    unranked_by_verdict: bool = field(default=False, metadata={"absent_when": False})
    """Whether a prompt none of whose answers has the reward is ranked as without one, and no window applies to it; set
    for rewards that come with stored answers, which a file need not have for every prompt."""

    @abstractmethod
    def chosen(self) -> pl.Expr:
        """Rows that may be chosen, or be the SFT answer (beyond being whole and not empty)."""

    @abstractmethod
    def rejected(self) -> pl.Expr:
        """Rows that may be rejected."""

    def rank(self) -> pl.Expr:
        """What answers are ranked by; null: not ranked, not used."""
        import polars as pl

        if not self.rank_by:
            return self.unranked()
        value = pl.col(f"value:{self.rank_by}")
        return pl.when(self.is_ranked()).then(value).otherwise(self.unranked()) if self.unranked_by_verdict else value

    def unranked(self) -> pl.Expr:
        """What answers are ranked by where there is no reward: nothing, all are equal."""
        import polars as pl

        return pl.lit(0.0, pl.Float32)

    def is_ranked(self) -> pl.Expr:
        """Whether the reward ranks the answers of a prompt, so that the window applies to their margins."""
        import polars as pl

        if not (self.rank_by and self.unranked_by_verdict):
            return pl.lit(bool(self.rank_by))
        return pl.col(f"value:{self.rank_by}").is_not_null().any().over("prompt_id")

    def settle(self, recorded: Mapping[str, Sequence[str]]) -> None:
        """Replace `rank_by=recorded` by the one reward that came with the answers; by none, where none came.

        Args:
            recorded: domain -> names of the rewards that came with its answers.

        Raises:
            ConfigError: several came.
        """
        if self.rank_by != RECORDED:
            return
        names = list(dict.fromkeys(name for found in recorded.values() for name in found))
        if len(names) > 1:
            raise ConfigError(f"the answers came with rewards {', '.join(names)}; type selection.rank_by={names[0]}")
        self.rank_by = names[0] if names else ""
        self.unranked_by_verdict = bool(names)

    def pairs_within_sources(self) -> bool:
        """Whether it, or any of its rules, pairs answers of one source only."""
        return self.pair_policy is PairPolicy.SAME_SOURCE

    def windows_on_values(self) -> bool:
        """Whether it, or any of its rules, has a window on the reward's own scale."""
        return self.window.scale is WindowScale.VALUE

    def narrowed(self, domains: Collection[str], rewards: Collection[str]) -> Selection:
        """The same rule for prompts of these domains alone, without verifiers that are not among `rewards`.

        Raises:
            ConfigError: a domain has no rule.
        """
        return self

    def by_key(self) -> Mapping[str, Selection]:
        """Each rule by the dotted key under which its fields are set."""
        return {"selection": self}

    def check(self) -> None:  # noqa: B027 (one rule takes all its fields)
        """Raises:
        ConfigError: a field is set that nothing takes.
        """

    def parts(self, domains: Sequence[str]) -> Mapping[str, Selection]:
        """The rule of each domain; one rule sees its domains together.

        Raises:
            ConfigError: a domain has no rule.
        """
        return dict.fromkeys(domains, self)

    def verdict_by(self) -> list[str]:
        """Names of the verifiers that tell right from wrong, in order: the first that applies to an answer decides."""
        return []

    def verdicts(self) -> Verdicts:
        """The same, by domain."""
        return Verdicts(by={OTHER: self.verdict_by()})

    def for_sft_alone(self) -> Selection:
        """The same rule where every prompt with an answer trains SFT: for recipes that split prompts beforehand."""
        return replace(self, split=Split(sft_frac=1.0, without_pair=WithoutPair.SFT))

    def rewards(self) -> set[str]:
        """Names of the rewards the rule reads."""
        return {self.rank_by, *self.clean_by} - {""}
