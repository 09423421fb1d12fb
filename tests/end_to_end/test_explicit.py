"""Explicit fusion on Ray: who reads texts, or the run, is killed with kill -9, and no distribution is made again."""

from __future__ import annotations

import hashlib
import signal
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.chaos.ride import Ride, find, kill
from tests.end_to_end.pico import make_workspace, result, rows

pytestmark = pytest.mark.slow
EXPLICIT = (
    "recipe=fusellm", "source=[pico_a]", "explicit.texts.held_out_frac=0.3", "explicit.texts.block_tokens=60",
    "explicit.dump.max_length=128", "explicit.train.max_length=128", "explicit.train.global_batch_size=4",
    "explicit.train.epochs=1", "explicit.train.execution.save_every_steps=1",
    "+pool@cluster.pools.distributions=own", "cluster.pools.distributions.part_rows=1",
)  # fmt: skip
TABLES = ("distributions/pico_a", "distributions/pico_target", "targets/all", "text_losses/scores")


def ride(workspace: Path, name: str) -> Ride:
    return Ride(workspace, name, workspace / f"{name}_store", *EXPLICIT)


def distributions(store: Path) -> dict[str, bytes]:
    """Committed parts of the source's distributions over the texts that are learnt from."""
    return {path.name: path.read_bytes() for path in store.glob("distributions/pico_a-*/parts/*.parquet")}


def made(workspace: Path, name: str) -> dict[str, object]:
    """All rows, and what the trained model weighs."""
    model = (workspace / "runs" / name / "models" / "final").resolve() / "model.safetensors"
    return {table: rows(workspace, table, name) for table in TABLES} | {
        "model": hashlib.sha256(model.read_bytes()).hexdigest()
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an undisturbed run."""
    folder = make_workspace(tmp_path_factory.mktemp("explicit"))
    with ride(folder, "calm") as calm:
        assert calm.ended() == 0, calm.tail()
    return folder


@pytest.mark.parametrize("victim", ["actor", "driver"])
def test_after_a_kill_the_same_is_made_and_nothing_again(workspace: Path, victim: str) -> None:
    calm, store = made(workspace, "calm"), workspace / f"{victim}_store"
    assert all(calm.values())
    with ride(workspace, victim) as run:

        def actor() -> psutil.Process | None:
            return find(run.process.pid, "SourceActor")

        run.wait_for(lambda: len(distributions(store)) >= 2 and actor(), "a third of the distributions")
        before = distributions(store)
        killed = actor() if victim == "actor" else psutil.Process(run.process.pid)
        assert killed is not None
        kill(killed)
        code = run.ended()
    assert code == (0 if victim == "actor" else -signal.SIGKILL), run.tail()
    if victim == "driver":
        with ride(workspace, victim) as run:
            assert run.ended() == 0, run.tail()
        (step,) = (s for s in result(workspace, victim)["steps"] if s["label"] == "pico_a")  # type: ignore[attr-defined]
        assert step["totals"].get("num_requests", 0) <= step["rows_in"] - len(before)
    after = distributions(store)
    assert {name: after.get(name) for name in before} == before
    assert made(workspace, victim) == calm
