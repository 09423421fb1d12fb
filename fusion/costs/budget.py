"""What a run may use before it stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.cluster_config import Price
from fusion.costs.account import Used
from fusion.errors import ConfigError
from fusion.spending import Budget

REMEDY = "everything committed is kept; raise it and type the same command"
"""What to do about a budget that is used up."""


@dataclass(kw_only=True)
class RunBudget:
    """Limits on what all runs of one experiment use together. Bears no identity.

    A run looks at them once a second and then tells its workers to stop: what they finish before they hear it is kept,
    and is paid for.

    Example: RunBudget(max_usd=12, max_gpu_hours=40)
    """

    max_usd: float | None = None
    """By `cluster.price`, with what endpoints cost by theirs; null: no limit."""
    max_gpu_hours: float | None = None
    """GPUs that steps hold, times hours, without those they wait for; null: no limit."""

    def __post_init__(self) -> None:
        for name in ("max_usd", "max_gpu_hours"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                raise ConfigError(f"budget.{name} must be above 0 (null is no limit), got {limit:g}")

    def check(self, price: Price, endpoints: Sequence[Budget]) -> None:
        """Raises:
        ConfigError: money is limited, and nothing has a price.
        """
        if self.max_usd is None or price.usd_per_gpu_hour or price.usd_per_hour:
            return
        if not any(one.usd_per_million_completion_tokens for one in endpoints):
            raise ConfigError(
                f"budget.max_usd={self.max_usd:g} needs a price; set cluster.price.usd_per_gpu_hour to what a GPU "
                "costs you, or cluster.price.usd_per_hour to what the machine does"
            )

    def passed(self, used: Used) -> str:
        """The limit that is used up, as `budget.max_usd=12`, or an empty string."""
        amounts = {"max_usd": used.usd, "max_gpu_hours": used.gpu_hours}
        for name, amount in amounts.items():
            limit = getattr(self, name)
            if limit is not None and amount >= limit:
                return f"budget.{name}={limit:g}"
        return ""
