"""What endpoints took since a run began, by the ledgers of their budgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fusion.spending import Budget, Usage, spent

Ledger = tuple[Budget, str]
"""A budget, and the model it is for."""


class EndpointBill:
    """Money that the models behind endpoints took. Runs that share a ledger and run at the same time are not told
    apart: each counts what both spend.
    """

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = list({(one.ledger, model): (one, model) for one, model in ledgers}.values())
        self._before = [Usage() for _ in self._ledgers]
        self._usd = 0.0

    def open(self) -> None:
        """The run begins: what the ledgers hold now is not its own."""
        self._before = [spent(*one) for one in self._ledgers]

    def refresh(self) -> None:
        """Read the ledgers."""
        now = [spent(*one) for one in self._ledgers]
        self._usd = sum(
            budget.usd(after - before)
            for (budget, _), before, after in zip(self._ledgers, self._before, now, strict=True)
        )

    def usd(self) -> float:
        """As of the last `refresh`."""
        return self._usd


def ledgers(holders: Sequence[object]) -> list[Ledger]:
    """Of those rewards and generators that ask an endpoint for money."""
    found = []
    for holder in holders:
        budget, endpoint = getattr(holder, "budget", None), getattr(holder, "endpoint", None)
        if isinstance(budget, Budget) and endpoint is not None and budget.usd(Usage(0, 10**6, 10**6)):
            found.append((replace(budget), str(endpoint.model)))
    return found
