"""The contract of a preference objective: a pure function of log-probabilities.

An objective never sees a model, a tokenizer, a rank or a config tree. Roles come in a fixed order (`roles`), so that
swapping two of them is a type error in the test, not a silent inversion in the loss.

Shapes: R roles, B examples, S sources.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from fusion.errors import ConfigError
from fusion.schema import PREFERENCE_PAIR
from fusion.table import Table

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RoleLogProbs:
    """Log-probabilities of whole responses, roles in the objective's order."""

    logprob_sum_RB: Tensor
    """Sum over unmasked response tokens, nats, fp32."""
    num_tokens_RB: Tensor
    """Number of tokens in that same sum, at least 1."""
    source_logprob_mean_SRB: Tensor | None = None
    """Of a reference, S sources: mean log-probability of a token of each response under each source, in its own tokens
    and template; NaN where a source could not read the response. None: the objective needs no sources."""


@dataclass(frozen=True)
class Loss:
    """Loss of each example, and metrics as (total, count), so that nobody averages averages."""

    per_example_B: Tensor
    metrics: Mapping[str, tuple[Tensor, int]]


@dataclass(kw_only=True)
class Objective(ABC):
    """Base of all preference objectives."""

    consumes: ClassVar[Table] = PREFERENCE_PAIR
    roles: ClassVar[tuple[str, ...]] = ("chosen", "rejected")
    needs_reference: ClassVar[bool] = True
    needs_sources: ClassVar[bool] = False
    """Whether the reference must say how likely each response is under every source."""

    sft_weight: float = field(default=0.0, metadata={"absent_when": 0.0})
    """Weight of a term that keeps the first role likely: its negative log-likelihood, mean over tokens (RPO, arXiv
    2404.19733, eq. 1 with alpha = sft_weight; there 1). 0: none, as in FuseChat-3.0. TRL's "sft" term has the mean
    over all tokens of a batch instead, which is the same where these responses are equally long."""

    def __post_init__(self) -> None:
        if self.sft_weight < 0:
            raise ConfigError(
                f"objective.sft_weight must be 0 (no SFT term) or above, got {self.sft_weight}; RPO has 1"
            )

    @abstractmethod
    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        """Loss of a batch; `progress` is the share of optimiser steps done, in [0, 1]."""

    def training_loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        """`loss`, with the SFT term where one is set."""
        loss = self.loss(policy, reference, progress)
        if not self.sft_weight:
            return loss
        nll_B = -policy.logprob_sum_RB[0] / policy.num_tokens_RB[0]
        metrics = {**loss.metrics, "nll": (nll_B.detach().sum(), nll_B.numel())}
        return Loss(loss.per_example_B + self.sft_weight * nll_B, metrics)


@dataclass(kw_only=True)
class TiedObjective(Objective):
    """An objective with a beta, which is bound to the scale it was tuned on: sums and means differ a hundredfold."""

    beta_range: ClassVar[tuple[float, float]]
    """What a beta of this scale lies in."""
    beta_note: ClassVar[str]
    """What the beta multiplies, what papers use, and whose a beta outside the range is."""

    beta: float
    any_beta: bool = field(default=False, metadata={"identity": False})
    """Accept a beta outside `beta_range`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.beta_range
        if not self.beta > 0:
            raise ConfigError(f"objective.beta must be above 0, got {self.beta}: {self.beta_note}")
        if not self.any_beta and not low <= self.beta <= high:
            raise ConfigError(
                f"objective.beta is {self.beta}, expected {low:g} to {high:g}: {self.beta_note}. Set "
                "objective.any_beta=true if you mean it"
            )


@dataclass(kw_only=True)
class SmoothedObjective(TiedObjective):
    """A Bradley-Terry loss, which may doubt its labels."""

    label_smoothing: float = 0.0
    """Share of rows believed to be swapped, in [0, 0.5)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(f"objective.label_smoothing must be in [0, 0.5), got {self.label_smoothing}")


def preference_loss(rewards_RB: Tensor, label_smoothing: float) -> Loss:
    """Bradley-Terry loss of two implicit rewards, chosen first: -(1 - eps) log sigmoid(h) - eps log sigmoid(-h).

    Args:
        rewards_RB: [2, B], beta times the (normalised) log-ratio of each role.
        label_smoothing: eps, in [0, 0.5).
    """
    chosen_B, rejected_B = rewards_RB
    return Loss(bradley_terry(chosen_B - rejected_B, label_smoothing), reward_metrics(chosen_B, rejected_B))


def bradley_terry(margin_B: Tensor, label_smoothing: float) -> Tensor:
    """-(1 - eps) log sigmoid(h) - eps log sigmoid(-h), by example."""
    from torch.nn.functional import logsigmoid

    return -(1 - label_smoothing) * logsigmoid(margin_B) - label_smoothing * logsigmoid(-margin_B)


def reward_metrics(chosen_B: Tensor, rejected_B: Tensor) -> dict[str, tuple[Tensor, int]]:
    """What every objective tells of its implicit rewards."""
    chosen_B, rejected_B = chosen_B.detach(), rejected_B.detach()
    margin_B, count = chosen_B - rejected_B, chosen_B.numel()
    return {
        "accuracy": ((margin_B > 0).sum(), count),
        "margin": (margin_B.sum(), count),
        "reward_chosen": (chosen_B.sum(), count),
        "reward_rejected": (rejected_B.sum(), count),
    }
