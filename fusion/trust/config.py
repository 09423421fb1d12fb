"""Limits of the gates: what a reward must show on a sample of answers before it may score them all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from fusion.errors import ConfigError
from fusion.trust.known_answer import KnownAnswer
from fusion.trust.known_from import known_from

GATES = ("batching", "padding", "known_answers", "length", "favouritism", "agreement")


@dataclass(kw_only=True)
class TrustConfig:
    """What counts as too much, and which gates may fail all the same."""

    max_batching: float = 0.05
    """Largest change of a value when it is scored alone, in standard deviations of the sample's values. A state that is
    read at the wrong token moves values by about one; rounding must stay far below what decides pairs."""
    max_padding: float = 0.05
    """The same between padding on the left and on the right."""
    max_length_correlation: float = 0.4
    """Mean rank correlation of value and length within a prompt, either way. Trained reward models lie within 0.15 of
    zero on pairs that were labelled objectively. GPT-4 as a judge, whose leaderboard had to be corrected for length,
    gives 0.43 and 0.50 to answers of one model that was asked to be brief or wordy, and 0.2 to 0.3 to models of like
    strength that were asked for neither."""
    max_favouritism: float = 0.25
    """How far a family's chance of being ranked above others may lie from one half, or, where a verifier decided, from
    what the verifier gives it. 0.25 is winning three of four against models that were chosen as its equals."""
    min_agreement: float = 0.6
    """Chance that a passing answer is ranked above a failing one of the same prompt; 0.5 is a coin. On pairs made to be
    hard (JudgeBench) trained reward models reach 0.59 to 0.65, on its own mathematics a mathematics one 0.90."""
    min_prompts: int = 20
    """Prompts without which length, favouritism and agreement are not measured: chance alone would decide."""
    families: dict[str, str] = field(default_factory=dict)
    """Source -> family of models; a source that is not named is a family of its own."""
    known_answers: list[KnownAnswer] = field(default_factory=list)
    known_from: str = field(default="", metadata={"identity": False})
    """A file of recorded scores that join `known_answers` (see `fusion.trust.known_from`); empty: none."""
    known_tolerance: float = field(default=0.25, metadata={"identity": False})
    """How far they may be off, in standard deviations of the recorded values: rounding moves a value by less, a state
    that is read at the wrong token by about one."""
    sample_prompts: int = 128
    """Prompts whose answers are the sample. Four in ten of FuseChat-3.0's have a verifier; where half of these have
    right and wrong answers, more than `min_prompts` are left."""
    override: list[str] = field(default_factory=list)
    """Gates that may fail; their figures stay in the record. Part of identity: without it the gates are asked again."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.override) - set(GATES)):
            raise ConfigError(f"trust.override names {unknown[0]!r}; the gates are {', '.join(GATES)}")
        for name, low, high in (
            ("max_batching", 0.0, float("inf")),
            ("max_padding", 0.0, float("inf")),
            ("max_length_correlation", 0.0, 1.0),
            ("max_favouritism", 0.0, 1.0),
            ("min_agreement", 0.0, 1.0),
            ("known_tolerance", 1e-9, float("inf")),
            ("min_prompts", 1, float("inf")),
            ("sample_prompts", 1, float("inf")),
        ):
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"trust.{name} must be in [{low:g}, {high:g}], got {getattr(self, name)}")

    def resolve(self, rewards: Collection[str]) -> None:
        """Read the recorded scores of these rewards; called once, before planning.

        Raises:
            ConfigError: the file has none.
        """
        if self.known_from:
            self.known_answers = [*self.known_answers, *known_from(self.known_from, rewards, self.known_tolerance)]
