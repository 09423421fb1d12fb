"""What is used is counted while it is used, remembered, and limited."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fusion.artifact import Receipt
from fusion.cluster_config import Price
from fusion.costs.account import Account, Pace, StepUse, Used, read_accounts, write_account
from fusion.costs.budget import RunBudget
from fusion.costs.endpoints import EndpointBill, ledgers
from fusion.costs.held import held_gpus
from fusion.costs.meter import Meter
from fusion.costs.pace_meter import MOST, PaceMeter
from fusion.endpoint_config import EndpointConfig
from fusion.errors import ArtifactError, ConfigError, StepFailed
from fusion.plan import Status
from fusion.rewards.judge import Judge
from fusion.runner import Outcome, Runner
from fusion.runtime import Done, InProcess, Runtime, Tasks, Waits, WorkerSpec
from fusion.schema import PROMPT
from fusion.spending import Budget, Spending, Usage
from fusion.step import Capacity, Placement, Step
from fusion.work import Work
from tests.fusion.test_runner import CALLS, Silent, Words
from tests.workers import NumberWriter
from tests.workers import Tasks as NumberTasks

HOUR = 3600.0
GPUS = Placement(replicas=2, gpus=4)


def slow_words(works: Sequence[Work], runtime: Runtime) -> None:
    """A word every 50 ms, each committed; what is committed is not made again."""
    out = works[0].rows_out
    config: Words = works[0].step.config  # type: ignore[assignment]
    for word in out.pending(dict.fromkeys(config.words)):
        row = {"prompt_id": word, "messages": [], "domain": "d", "dataset": "t", "reference": None}
        out.accept(Receipt(parts=out.folder.write(PROMPT.build([row])), num_tokens=3))
        CALLS.append(word)
        time.sleep(0.05)
        if works[0].stopped():
            return


def deaf_words(works: Sequence[Work], runtime: Runtime) -> None:
    slow_words([replace(work, stopped=lambda: False) for work in works], runtime)


def words_step(number: int = 40, placement: Placement = GPUS) -> Step:
    words = Words(words=[f"w{i:03d}" for i in range(number)])
    return Step(kind="prompts", label="slow", run=slow_words, config=words, produces=PROMPT, placement=placement)


def run(store: Path, step: Step, meter: Meter) -> Outcome:
    CALLS.clear()
    return Runner(str(store), InProcess, Capacity(cpus=9, gpus=8), Silent(), meter).run([step])


def meter_in(folder: Path, price: Price | None = None, **limits: float) -> Meter:
    return Meter(price, RunBudget(**limits), str(folder / "spent"))


def test_held_gpus_times_time_is_what_is_counted(tmp_path: Path) -> None:
    """Eight GPUs at 2 USD for as long as the step runs, and a head at 100 for as long as the run does."""
    meter = meter_in(tmp_path, Price(usd_per_gpu_hour=2.0, usd_per_hour=100.0))
    started = time.monotonic()
    step = words_step(20)
    run(tmp_path, step, meter)
    most = time.monotonic() - started
    account = meter.account()
    (use,) = account.steps.values()
    assert 20 * 0.05 < use.used.seconds <= account.total.seconds <= most
    assert use.used.gpu_seconds == pytest.approx(8 * use.used.seconds)
    assert account.total.gpu_seconds == pytest.approx(use.used.gpu_seconds)
    assert account.total.usd == pytest.approx(account.total.gpu_hours * 2 + account.total.seconds / HOUR * 100)
    assert use.used.usd == pytest.approx(use.used.gpu_hours * 2 + use.used.seconds / HOUR * 100)
    assert read_accounts(str(tmp_path / "spent")) == account


class LateNodes(InProcess):
    """Half of the GPUs come after half a second, the others after another half."""

    def telling(self, waits: Waits) -> Runtime:
        self._waits = waits
        return self

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        for gpus in (8, 4):
            self._waits(gpus)
            time.sleep(0.5)
        self._waits(0)
        return iter(())


def words_when_nodes_came(works: Sequence[Work], runtime: Runtime) -> None:
    runtime.map(NumberWriter(""), NumberTasks((), Path()), works[0].step.placement, "slow")
    slow_words(works, runtime)


def test_gpus_that_are_waited_for_are_not_held(tmp_path: Path) -> None:
    """Minutes in which a cloud starts its nodes were counted as if the step had them."""
    meter = meter_in(tmp_path, Price(usd_per_gpu_hour=2.0))
    step = replace(words_step(20), run=words_when_nodes_came)
    Runner(str(tmp_path), LateNodes, Capacity(cpus=9, gpus=8), Silent(), meter).run([step])
    used = meter.account().steps[step.fingerprint].used
    assert used.seconds > 0.5 + 0.5 + 20 * 0.05
    assert 4 * 0.5 + 8 * 20 * 0.05 <= used.gpu_seconds <= 8 * used.seconds - 8 * 0.5 - 4 * 0.5
    assert used.usd == pytest.approx(used.gpu_hours * 2)


def test_a_budget_stops_the_run_and_a_larger_one_resumes_it(tmp_path: Path) -> None:
    step = words_step()
    half = 8 * 40 * 0.05 / 2 / HOUR  # of the GPU-hours that all words take at least
    with pytest.raises(StepFailed, match=r"budget\.max_gpu_hours=\S+ used up: .* in prompts/slow \(\d+ of 40 rows\)"):
        run(tmp_path, step, meter_in(tmp_path, max_gpu_hours=half))
    first = list(CALLS)
    assert 0 < len(first) < 40
    with pytest.raises(ConfigError, match="raise it and type the same command"):
        run(tmp_path, step, meter_in(tmp_path, max_gpu_hours=half))
    assert CALLS == []
    outcome = run(tmp_path, step, meter_in(tmp_path, max_gpu_hours=1000 * half))
    assert outcome.artifact(step).manifest["accounts"]["rows_out"] == 40  # type: ignore[index]
    assert sorted(first + CALLS) == [f"w{i:03d}" for i in range(40)]
    assert read_accounts(str(tmp_path / "spent")).total.gpu_hours > half
    done = run(tmp_path, step, meter_in(tmp_path, max_gpu_hours=half))
    assert [one.status for one in done.planned] == [Status.HIT]


def test_a_run_that_ends_in_spite_of_its_budget_has_ended_well(tmp_path: Path) -> None:
    """A step that does not look whether it should stop is done before it could be stopped."""
    step = replace(words_step(10), run=deaf_words)
    meter = meter_in(tmp_path, max_gpu_hours=1e-6)
    outcome = run(tmp_path, step, meter)
    assert outcome.artifact(step).manifest["accounts"]["rows_out"] == 10  # type: ignore[index]
    assert meter.reached()


def test_a_killed_run_is_remembered_but_for_seconds(tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        from tests.fusion.costs.test_meter import meter_in, run, words_step
        run(Path({str(tmp_path)!r}), words_step(1000), meter_in(Path({str(tmp_path)!r})))
    """
    root = str(Path(__file__).resolve().parents[3])
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=os.environ | {"PYTHONPATH": root})
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "spent").glob("*.json")):
            assert time.monotonic() < deadline, "nothing was written down"
            time.sleep(0.1)
        time.sleep(1.0)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    rows = len(list((tmp_path / "prompts").glob("*/parts/*.parquet")))
    used = read_accounts(str(tmp_path / "spent")).total
    assert 0 < used.gpu_seconds <= 8 * used.seconds
    assert used.gpu_seconds / 8 > 0.05 * rows - 3.0


def test_runs_at_the_same_time_count_against_one_budget(tmp_path: Path) -> None:
    write_account(str(tmp_path / "spent" / "other.json"), Account(Used(HOUR, 6 * HOUR, 3.0)))
    assert meter_in(tmp_path, max_gpu_hours=6).reached().startswith("budget.max_gpu_hours=6 used up: 3 USD, 6 GPU-h")
    assert meter_in(tmp_path, max_usd=3).reached().startswith("budget.max_usd=3 used up")
    assert meter_in(tmp_path, max_usd=3.1, max_gpu_hours=6.1).reached() == ""
    assert meter_in(tmp_path).reached() == ""


def test_an_account_that_cannot_be_read_is_not_forgotten_silently(tmp_path: Path) -> None:
    (tmp_path / "spent").mkdir()
    (tmp_path / "spent" / "a.json").write_text('{"total": {}}')
    with pytest.raises(ArtifactError, match=r"a\.json does not say what an earlier run used"):
        meter_in(tmp_path)


def test_accounts_add_up() -> None:
    one = Account(Used(1, 2, 3), 1.0, {"a": StepUse("x/a", Used(1, 2, 3), (Pace(1, 2, ((1.0, 5.0),)),))})
    both = one + one
    assert both.total == Used(2, 4, 6)
    assert both.endpoints_usd == 2
    assert both.steps["a"].used == Used(2, 4, 6)
    assert len(both.steps["a"].paces) == 2


def test_an_engine_is_shared_and_reward_models_are_not() -> None:
    engine = [words_step(1), words_step(2)]
    assert held_gpus(engine) == 8
    judges = [
        Step(
            kind="rewards",
            label=name,
            run=slow_words,
            config=_Scored(reward=name),
            produces=PROMPT,
            placement=Placement(replicas=2, gpus=1),
        )
        for name in ("armorm", "other", "other")
    ]
    assert held_gpus(judges) == 4


class _Scored:
    def __init__(self, reward: str) -> None:
        self.reward = reward


def test_a_long_run_keeps_few_windows_and_all_tokens() -> None:
    meter = PaceMeter()
    meter.add(5.0, 0)  # loading
    meter.add(1.0, 100)  # the first answers come: counted from here
    for second in range(1, 2001):
        meter.add(1.0, 100 + 7 * second)
    assert len(meter.windows) < MOST
    seconds, tokens = (sum(column) for column in zip(*meter.windows, strict=True))
    assert tokens / seconds == pytest.approx(7.0)
    assert seconds > 1900


def test_the_time_after_the_last_tokens_is_nobodys_pace() -> None:
    meter = PaceMeter()
    for tokens in (0, 50, 60, 60, 70, 70, 70):
        meter.add(1.0, tokens)
    assert meter.windows == [(1.0, 10), (1.0, 0), (1.0, 10)]


def test_money_of_endpoints_is_what_their_ledger_gained(tmp_path: Path) -> None:
    prices = {"usd_per_million_prompt_tokens": 2.0, "usd_per_million_completion_tokens": 10.0}
    judge = Judge(
        endpoint=EndpointConfig(url="http://127.0.0.1:9/v1", model="m"), revision="1",
        budget=Budget(ledger=str(tmp_path / "ledger"), **prices),
    )  # fmt: skip
    found = ledgers([None, judge, object()])
    _spend(judge.budget, 1_000_000)
    bill = EndpointBill(found)
    bill.open()
    _spend(judge.budget, 500_000)
    bill.refresh()
    assert bill.usd() == pytest.approx(5.0)
    meter = Meter(None, RunBudget(max_usd=4.0), str(tmp_path / "spent"), bill)
    assert meter.reached().startswith("budget.max_usd=4 used up: 5 USD")
    assert json.loads(json.dumps(meter.account().endpoints_usd)) == pytest.approx(5.0)


def _spend(budget: Budget, tokens: int) -> None:
    spending = Spending(budget, "m")
    spending.reserve(Usage(1, 0, tokens))
    spending.settle(Usage(1, 0, tokens), Usage(1, 0, tokens))
    spending.close()
