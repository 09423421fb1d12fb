"""vLLM itself in an actor that is killed.

Its answers depend on what else is in a batch: what is compared is what was committed, which stays as it is, and that no
answer is missing or there twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.chaos.ride import Ride, find, kill
from tests.end_to_end.chaos.verdict import committed, touched
from tests.end_to_end.conftest import NUM_PROMPTS
from tests.end_to_end.pico import SOURCES, is_unique, make_workspace, rows

pytestmark = pytest.mark.chaos
NAME = "vllm-kill_sourceactor"
SETTINGS = (
    "generator=vllm", "generator.max_model_len=128", "++cluster.pools.responses.kv_cache_gib=0.2",
    "++cluster.pools.responses.in_flight=2",
)  # fmt: skip


def test_answers_that_vllm_committed_stay_when_its_actor_is_killed(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    workspace = make_workspace(tmp_path, NUM_PROMPTS, hidden=64)
    store = workspace / f"{NAME}_store"
    started = time.monotonic()
    with Ride(workspace, NAME, store, "recipe=replay", generator=SETTINGS) as ride:
        ride.wait_for(lambda: len(committed(store)) >= 3, "three parts")
        before = committed(store)
        victim = find(ride.process.pid, "SourceActor")
        assert victim is not None
        kill(victim)
        assert ride.ended() == 0, ride.tail()
    record_property(NAME, f"{time.monotonic() - started:5.1f} s in all")
    assert not touched(before, store)
    answers = rows(workspace, "responses", NAME)
    assert len(answers) == len(SOURCES) * NUM_PROMPTS * 3
    assert is_unique(answers, "prompt_id", "source", "sample_index")
