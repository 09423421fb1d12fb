"""What requests to an endpoint may cost, and what they have cost.

A process never passes a limit: a request starts only if its worst case fits into what is left beside the worst cases
of all that are in flight, and waits while it may still turn out to. What was spent is kept in a ledger, a folder with
one small file a process, so that a later run goes on counting where an earlier one stopped. Processes that spend at the
same time see each other's files, which are written once a second: together they may pass a limit by what they spend in
a second, and a process that is killed forgets as much.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from dataclasses import dataclass, field

from fusion import location
from fusion.errors import ConfigError
from fusion.schema import hash_text

FLUSH_S = 1.0


class BudgetSpent(Exception):  # noqa: N818 (a decision of the user, not a fault)
    """The next request might pass a limit; the message begins with `budget spent`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one or several requests took. Tokens are the endpoint's."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.requests + other.requests,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )

    def __sub__(self, other: Usage) -> Usage:
        return self + Usage(-other.requests, -other.prompt_tokens, -other.completion_tokens)


def anchored(path: str) -> str:
    """A relative path made absolute: workers run in other folders. A home folder stays the worker's own."""
    if not path or path.startswith("~") or not location.is_local(path):
        return path
    return str(location.local_path(path).absolute())


@dataclass(kw_only=True)
class Budget:
    """Limits on what is ever spent on one model by all who share a ledger; 0: no limit.

    Example: Budget(max_usd=20, usd_per_million_prompt_tokens=2.5, usd_per_million_completion_tokens=10)
    """

    max_requests: int = 0
    """HTTP requests, repeated ones included."""
    max_tokens: int = 0
    """Of prompts and completions together. A request whose answer was lost counts with its worst case."""
    max_usd: float = 0.0
    usd_per_million_prompt_tokens: float = 0.0
    usd_per_million_completion_tokens: float = 0.0
    ledger: str = field(default="~/.cache/fusion/spending", metadata={"identity": False})
    """Folder or URL of what was spent; workers on several machines need one that all see."""

    def __post_init__(self) -> None:
        self.ledger = anchored(self.ledger)
        for item in ("max_requests", "max_tokens", "max_usd"):
            if getattr(self, item) < 0:
                raise ConfigError(f"budget.{item} must be at least 0 (0 is no limit), got {getattr(self, item)}")
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        if min(prices) < 0 or (self.max_usd and not all(prices)):
            raise ConfigError(
                f"budget.max_usd={self.max_usd:g} needs prices above 0; set budget.usd_per_million_prompt_tokens and "
                "budget.usd_per_million_completion_tokens to the endpoint's"
            )

    def usd(self, usage: Usage) -> float:
        prompt = usage.prompt_tokens * self.usd_per_million_prompt_tokens
        return (prompt + usage.completion_tokens * self.usd_per_million_completion_tokens) / 1e6

    def passed(self, usage: Usage) -> str:
        """The limit that `usage` passes, as `max_requests=6`, or an empty string."""
        amounts = {
            "max_requests": usage.requests,
            "max_tokens": usage.prompt_tokens + usage.completion_tokens,
            "max_usd": self.usd(usage),
        }
        for name, amount in amounts.items():
            limit = getattr(self, name)
            if limit and amount > limit:
                return f"{name}={limit:g}"
        return ""


def spent(budget: Budget, model: str, but: str = "") -> Usage:
    """What the ledger says was spent on a model by all, the file `but` left out."""
    folder = _folder(budget, model)
    total = Usage()
    for name in location.names(folder):
        if name != but:
            total += Usage(*json.loads(location.get(location.join(folder, name))))
    return total


def _folder(budget: Budget, model: str) -> str:
    return location.join(os.path.expanduser(budget.ledger), hash_text(model))


class Spending:
    """One process's account of one model, and its view of the others'; used from many threads."""

    def __init__(self, budget: Budget, model: str) -> None:
        self._budget = budget
        self._model = model
        self._name = f"{uuid.uuid4().hex}.json"
        self._own, self._held = Usage(), Usage()
        self._changed = threading.Condition()
        self._others = spent(budget, model)
        self._flushed = time.monotonic()

    @property
    def total(self) -> Usage:
        """What was spent by all."""
        return self._others + self._own

    def reserve(self, most: Usage) -> None:
        """Set the worst case of a request aside; waits while others in flight may turn out cheaper than theirs.

        Raises:
            BudgetSpent: it does not fit, and nothing is in flight.
        """
        with self._changed:
            while limit := self._budget.passed(self.total + self._held + most):
                if self._held == Usage():
                    raise BudgetSpent(f"budget spent: {self._told()}; another request may pass {limit}")
                self._changed.wait()
            self._held += most

    def settle(self, most: Usage, actual: Usage) -> None:
        """The request of a reservation is over and took `actual`."""
        with self._changed:
            self._held -= most
            self._own += actual
            if time.monotonic() - self._flushed >= FLUSH_S:
                self._flush()
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._flush()

    # -- private -------------------------------------------------------------------------------------------------

    def _told(self) -> str:
        total = self.total
        tokens = total.prompt_tokens + total.completion_tokens
        return f"{total.requests} requests, {tokens} tokens, {self._budget.usd(total):.2f} USD"

    def _flush(self) -> None:
        if self._own != Usage():
            own = [self._own.requests, self._own.prompt_tokens, self._own.completion_tokens]
            location.put(location.join(_folder(self._budget, self._model), self._name), json.dumps(own).encode())
        self._others = spent(self._budget, self._model, but=self._name)
        self._flushed = time.monotonic()
