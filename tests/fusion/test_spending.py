"""Budgets: never passed, shared by threads and processes, remembered."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.spending import Budget, BudgetSpent, Spending, Usage


def test_limits_are_told_by_name() -> None:
    budget = Budget(
        max_requests=10,
        max_tokens=1000,
        max_usd=0.01,
        usd_per_million_prompt_tokens=2.0,
        usd_per_million_completion_tokens=10.0,
    )
    assert budget.passed(Usage(10, 500, 500)) == ""
    assert budget.passed(Usage(11, 0, 0)) == "max_requests=10"
    assert budget.passed(Usage(1, 501, 500)) == "max_tokens=1000"
    assert budget.usd(Usage(1, 1_000_000, 500_000)) == pytest.approx(7.0)
    assert Budget(
        max_usd=0.01, usd_per_million_prompt_tokens=2, usd_per_million_completion_tokens=10
    ).passed(Usage(1, 1, 1000)) == "max_usd=0.01"  # fmt: skip
    assert Budget().passed(Usage(10**9, 10**12, 10**12)) == ""


def test_dollars_need_prices() -> None:
    with pytest.raises(ConfigError, match="needs prices"):
        Budget(max_usd=1)
    with pytest.raises(ConfigError, match="max_tokens must be at least 0"):
        Budget(max_tokens=-1)


def test_threads_together_never_pass_a_limit(tmp_path: Path) -> None:
    """Each request turns out cheaper than its worst case, so that more of them fit than worst cases do."""
    spending = Spending(Budget(max_tokens=1000, ledger=str(tmp_path)), "m")
    most, seen, refused = Usage(1, 50, 50), [], []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        while True:
            try:
                spending.reserve(most)
            except BudgetSpent as error:
                refused.append(str(error))
                return
            time.sleep(0.001)
            spending.settle(most, Usage(1, 10, rng.randrange(20)))
            seen.append(spending.total)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = spending.total.prompt_tokens + spending.total.completion_tokens
    assert 900 < total <= 1000
    assert len(refused) == 8
    assert spending.total.requests == len(seen) > 1000 / 100


def test_what_was_spent_is_remembered_by_model(tmp_path: Path) -> None:
    budget = Budget(max_requests=2, ledger=str(tmp_path))
    for _ in range(2):
        spending = Spending(budget, "m")
        spending.reserve(Usage(1))
        spending.settle(Usage(1), Usage(1))
        spending.close()
    with pytest.raises(BudgetSpent, match="2 requests, 0 tokens"):
        Spending(budget, "m").reserve(Usage(1))
    Spending(budget, "another").reserve(Usage(1))
    Spending(Budget(max_requests=3, ledger=str(tmp_path)), "m").reserve(Usage(1))


def test_others_are_seen_while_they_spend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion.spending.FLUSH_S", 0.0)
    one, two = (Spending(Budget(max_requests=3, ledger=str(tmp_path)), "m") for _ in range(2))
    for spending in (one, two, one):
        spending.reserve(Usage(1))
        spending.settle(Usage(1), Usage(1))
    with pytest.raises(BudgetSpent):
        one.reserve(Usage(1))
