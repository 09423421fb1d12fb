"""The contract of a preference objective: a pure function of log-probabilities.

An objective never sees a model, a tokenizer, a rank or a config tree. Roles come in a fixed order (`roles`), so that
swapping two of them is a type error in the test, not a silent inversion in the loss.

Shapes: R roles, B examples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion.schema import PREFERENCE_PAIR, Table

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RoleLogProbs:
    """Log-probabilities of whole responses, roles in the objective's order."""

    logprob_sum_RB: Tensor
    """Sum over unmasked response tokens, nats, fp32."""
    num_tokens_RB: Tensor
    """Number of tokens in that same sum, at least 1."""


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

    @abstractmethod
    def loss(self, policy: RoleLogProbs, reference: RoleLogProbs | None, progress: float) -> Loss:
        """Loss of a batch; `progress` is the share of optimiser steps done, in [0, 1]."""
