"""Sources behind an HTTP endpoint, which counts what it is asked: it goes away and comes back at another address, the
actor that asks it is killed, the driver is."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.chaos.calm import Calm
from tests.end_to_end.chaos.ride import Ride, find, kill
from tests.end_to_end.chaos.verdict import committed, touched
from tests.end_to_end.conftest import NUM_PROMPTS
from tests.end_to_end.pico import rows
from tests.endpoint_server import Body, Fault, Server, completion, serving

pytestmark = pytest.mark.chaos
TABLES = ("prompts", "responses", "rewards", "sft", "pairs", "drops")
ENDPOINT = ("generator=openai_endpoint", "generator.endpoint.model=m", "generator.endpoint.retry_s=1")
LASTS = 40
"""Requests that are answered before the endpoint goes away, of 144."""


def answer(path: str, body: Body) -> Body:
    text = f"The answer to {sum(body['prompt'])} is {body['seed'] % 100}."
    return completion(text, prompt_tokens=len(body["prompt"]))


def ask(calm: Calm, name: str, server: Server) -> Ride:
    generator = (*ENDPOINT, f"generator.endpoint.url={server.url}")
    return Ride(calm.workspace, name, calm.workspace / f"{name}_store", "recipe=replay", generator=generator)


def test_an_endpoint_that_goes_away_costs_what_was_not_committed(
    calm: Calm, record_property: Callable[[str, object], None]
) -> None:
    with serving(answer) as server, ask(calm, "endpoint_calm", server) as ride:
        assert ride.ended() == 0, ride.tail()
        wanted = len(server.asked)
    store: Path = calm.workspace / "endpoint_store"
    started = time.monotonic()
    with serving(answer) as server:
        server.always = lambda body: Fault(drops=True) if len(server.asked) > LASTS else None
        with ask(calm, "endpoint", server) as ride:
            assert ride.ended() == 1, ride.tail()
            assert server.url in ride.output.read_text(), ride.output.read_text()
    before = committed(store)
    kept = {row["seed"] for row in _responses(store)}
    assert 0 < len(kept) <= LASTS
    with serving(answer) as server, ask(calm, "endpoint", server) as ride:
        assert ride.ended() == 0, ride.tail()
        asked = [body["seed"] for body in server.asked]
    record_property("endpoint", f"{time.monotonic() - started:5.1f} s in all")
    assert not touched(before, store)
    assert not kept & set(asked), "a committed answer was asked for again"
    assert len(asked) == wanted - len(kept)
    for table in TABLES:
        assert rows(calm.workspace, table, "endpoint") == rows(calm.workspace, table, "endpoint_calm"), table


@pytest.mark.parametrize("victim", ["driver", "SourceActor"])
def test_after_a_kill_nothing_committed_is_asked_for_again(
    victim: str, calm: Calm, record_property: Callable[[str, object], None]
) -> None:
    name = f"asked-kill_{victim.lower()}"
    store: Path = calm.workspace / f"{name}_store"
    started = time.monotonic()
    with serving(answer) as server:
        server.always = lambda body: Fault(wait_s=0.1)
        with ask(calm, name, server) as ride:
            ride.wait_for(lambda: len(server.asked) > LASTS and _responses(store), "answers")
            kept, before = {row["seed"] for row in _responses(store)}, committed(store)
            heard = len(server.asked)
            found = psutil.Process(ride.process.pid) if victim == "driver" else find(ride.process.pid, victim)
            assert found is not None
            kill(found)
            assert ride.ended() == (-signal.SIGKILL if victim == "driver" else 0), ride.tail()
        with ask(calm, name, server) as ride:
            assert ride.ended() == 0, ride.tail()
        later = [body["seed"] for body in server.asked[heard:]]
    record_property(name, f"{time.monotonic() - started:5.1f} s in all")
    assert not touched(before, store)
    assert kept
    assert later
    assert not kept & set(later), "a committed answer was asked for again"
    answers = _responses(store)
    assert len({row["seed"] for row in answers}) == len(answers) == 2 * NUM_PROMPTS * 3


def _responses(store: Path) -> list[dict[str, object]]:
    import pyarrow.parquet as pq

    return [row for part in store.glob("responses/*/parts/*.parquet") for row in pq.read_table(part).to_pylist()]
