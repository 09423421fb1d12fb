"""What runs that are disturbed share: one undisturbed run, one Ray that outlives runs, and the account at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.end_to_end.chaos.calm import Calm, run_calmly
from tests.end_to_end.chaos.cluster import RayNodes
from tests.end_to_end.pico import make_workspace

NUM_PROMPTS = 24
WRONG: dict[str, bool] = {}
"""Points done so far."""


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Calm:
    return run_calmly(make_workspace(tmp_path_factory.mktemp("chaos"), NUM_PROMPTS))


@pytest.fixture(scope="session")
def ray_nodes() -> Iterator[RayNodes]:
    with RayNodes() as nodes:
        yield nodes


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "/chaos/" in report.nodeid and not report.skipped and (report.when == "call" or report.failed):
        WRONG[report.nodeid] = WRONG.get(report.nodeid, False) or report.failed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How long each point took to come back."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name:<56} {value}")


def pytest_unconfigure() -> None:
    """The last line of all; not of a process that has a part of the points."""
    if WRONG and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"chaos: {len(WRONG)} points, {sum(WRONG.values())} wrong")
