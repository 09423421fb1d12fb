"""A budget that is used up in the middle of generation stops the run, and a larger one resumes it.

Another process of the same experiment uses the budget up, so that the moment does not depend on how fast this machine
is. Money is what the machine costs, since there are no GPUs here.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from fusion.costs.account import Account, Used, read_accounts, write_account
from fusion.planning.measured import LEAST_WINDOWS
from tests.end_to_end.pico import EXACT, SOURCES, command, environment, fusion, is_unique, make_workspace, result, rows

pytestmark = pytest.mark.slow
NUM_PROMPTS, NUM_SAMPLES = 96, 3
SETTINGS = (
    *EXACT, "cluster=in_process", "cluster.price.usd_per_hour=36", "cluster.pools.responses.part_rows=2",
    "planning.calibration_prompts=10", "cluster.pools.responses.in_flight=2",
)  # fmt: skip
"""A cent a second."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("budget"), NUM_PROMPTS)


@pytest.fixture(scope="module")
def stopped(workspace: Path) -> tuple[int, str, dict[str, int]]:
    """Exit code and last line of a run whose budget ended when the speed of a source was known, and its committed
    parts, each with the time at which it was written."""
    child = subprocess.Popen(
        command(workspace, *SETTINGS, "budget.max_usd=1000"), cwd=workspace, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 600
        while not _is_measured(workspace):
            assert child.poll() is None, child.communicate()[0]
            assert time.monotonic() < deadline, "no answers came"
            time.sleep(0.05)
        write_account(str(workspace / "runs" / "pico" / "spent" / "other.json"), Account(Used(3600, 0.0, 1000.0)))
        told = child.communicate(timeout=600)[0]
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return child.returncode, told.strip().splitlines()[-1], _all_parts(workspace)


def _is_measured(workspace: Path) -> bool:
    """Whether ten prompts of one source are answered, and its speed can be told from what the run wrote down."""
    uses = read_accounts(str(workspace / "runs" / "pico" / "spent")).steps.values()
    paced = {use.name for use in uses if any(len(pace.windows) >= LEAST_WINDOWS for pace in use.paces)}
    return any(f"responses/{source}" in paced and len(_parts(workspace, source)) >= 5 for source in SOURCES)


def _begun(workspace: Path) -> list[str]:
    """Sources that are in the middle, ten prompts at least."""
    return [source for source in SOURCES if 5 <= len(_parts(workspace, source)) < NUM_PROMPTS // 2]


def _parts(workspace: Path, source: str) -> list[Path]:
    return list((workspace / "store" / "responses").glob(f"{source}-*/parts/*.parquet"))


def _all_parts(workspace: Path) -> dict[str, int]:
    return {str(part): part.stat().st_mtime_ns for source in SOURCES for part in _parts(workspace, source)}


def test_the_run_stops_and_says_what_where_and_what_to_type(stopped: tuple[int, str, dict[str, int]]) -> None:
    code, told, parts = stopped
    assert code == 1
    assert told.startswith("failed: budget.max_usd=1000 used up: 100")
    assert "it was in responses/pico_" in told
    assert f"of {NUM_PROMPTS * NUM_SAMPLES} rows" in told
    assert told.endswith("everything committed is kept; raise it and type the same command")
    assert 5 <= len(parts) < NUM_PROMPTS


def test_a_plan_forecasts_from_what_was_committed(stopped: tuple[int, str, dict[str, int]], workspace: Path) -> None:
    done = fusion(workspace, *SETTINGS, verb="plan")
    assert done.returncode == 0, done.stderr
    lines = {line.split(":")[0]: line for line in done.stdout.splitlines() if "tokens [" in line}
    sources = _begun(workspace)
    assert sources, done.stdout
    assert set(lines) >= {f"responses/{source}" for source in sources}, done.stdout
    measured = [line for line in lines.values() if "tokens/s an engine)" in line]
    assert measured, done.stdout
    assert all("; left: " in line and " s [" in line and "USD [" in line for line in measured)
    assert "responses/evaluation-sft: 64 tokens (assumed)" in done.stdout
    assert "Used so far: 100" in done.stdout


def test_the_same_budget_is_refused_and_a_larger_one_resumes(
    stopped: tuple[int, str, dict[str, int]], workspace: Path
) -> None:
    """Which is the last test, because it ends the experiment."""
    _, _, before = stopped
    refused = fusion(workspace, *SETTINGS, "budget.max_usd=1000")
    assert refused.returncode == 2
    assert "refused: budget.max_usd=1000 used up" in refused.stderr
    plan = fusion(workspace, *SETTINGS, verb="plan").stdout
    told = {line.split(":")[0]: line for line in plan.splitlines() if "tokens [" in line}
    begun = _begun(workspace)
    done = fusion(workspace, *SETTINGS, "budget.max_usd=3000", timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    after = _all_parts(workspace)
    assert {part: after[part] for part in before} == before
    answers = rows(workspace, "responses")
    assert len(answers) == len(SOURCES) * NUM_PROMPTS * NUM_SAMPLES
    assert is_unique(answers, "prompt_id", "source", "sample_index")
    for source in begun:
        truth = sum(int(str(row["num_tokens"])) for row in answers if row["source"] == source)
        low, high = _low(told[f"responses/{source}"]), _high(told[f"responses/{source}"])
        assert low - (high - low) / 2 <= truth <= high + (high - low) / 2  # 4 sigma: 95% is missed 1 time of 20
    _check_spending(result(workspace)["spending"])  # type: ignore[arg-type]
    assert "Forecast and actual" in (workspace / "runs" / "pico" / "report.html").read_text()


def _check_spending(spent: dict[str, object]) -> None:
    total: dict[str, float] = spent["total"]  # type: ignore[assignment]
    steps: dict[str, dict[str, dict[str, float]]] = {one["step"]: one for one in spent["steps"]}  # type: ignore[attr-defined]
    assert total["usd"] == pytest.approx(1000 + (total["seconds"] - 3600) / 100)
    assert sum(one["actual"]["usd"] for one in steps.values()) < total["usd"] - 1000
    assert steps["responses/pico_a"]["actual"]["tokens"] > 0
    assert steps["responses/evaluation-base"]["forecast"]["tokens"] == 8 * 8
    assert steps["checkpoint/final"]["forecast"]["disk_bytes"] > 0
    assert steps["checkpoint/final"]["actual"]["disk_bytes"] > 0


def _low(line: str) -> float:
    return _number(line.split("tokens [")[1].split(",")[0])


def _high(line: str) -> float:
    return _number(line.split("tokens [")[1].split(", ")[1].split("]")[0]) + 10  # both are rounded to three figures


def _number(text: str) -> float:
    return float(text.removesuffix("k")) * (1000 if text.endswith("k") else 1) - 5 * text.endswith("k")
