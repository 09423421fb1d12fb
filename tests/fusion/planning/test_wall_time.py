"""From start to end: jobs wait for their inputs and for GPUs, judges run while answers come."""

from __future__ import annotations

from collections.abc import Sequence

from fusion.planning.step_forecast import StepForecast
from fusion.planning.wall_time import wall_hours
from fusion.runtime import Runtime
from fusion.schema import PROMPT
from fusion.step import Capacity, Placement, Step
from fusion.work import Work
from tests.fusion.test_runner import Words


def nothing(works: Sequence[Work], runtime: Runtime) -> None: ...


def step(name: str, gpus: int, inputs: dict[str, Step] | None = None, streams: bool = False, gang: str = "") -> Step:
    return Step(
        kind="prompts", label=name, run=nothing, config=Words(words=[name]), produces=PROMPT, inputs=inputs or {},
        streams=frozenset(inputs or {}) if streams else frozenset(), gang=gang, placement=Placement(gpus=gpus),
    )  # fmt: skip


def hours(steps: Sequence[Step], gpus: int, told: dict[str, float | None], load: float = 0.0, done: str = "") -> float:
    forecasts = {
        one.fingerprint: StepForecast(one.name, one.fingerprint, hours=told[one.label], load_hours=load)
        for one in steps
    }
    made = [one.fingerprint for one in steps if one.label == done]
    found = wall_hours(steps, forecasts, Capacity(cpus=99, gpus=gpus), made)
    return -1.0 if found is None else found


def test_sources_share_gpus_or_wait_for_them_and_training_waits_for_both() -> None:
    a, b = step("a", 4), step("b", 4)
    train = step("train", 8, {"a": a, "b": b})
    told: dict[str, float | None] = {"a": 3.0, "b": 2.0, "train": 1.0}
    assert hours([a, b, train], 8, told) == 4.0
    assert hours([a, b, train], 4, told) == 6.0, "a job alone may ask for more than there is"
    assert hours([a, b, train], 8, told, load=0.5) == 5.0
    assert hours([a, b, train], 4, told, done="a") == 3.0
    assert hours([a, b, train], 8, told | {"b": None}) == -1.0


def test_what_streams_runs_beside_and_ends_after_what_it_reads() -> None:
    a = step("a", 4)
    judge = step("judge", 1, {"a": a}, streams=True)
    assert hours([a, judge], 5, {"a": 3.0, "judge": 1.0}) == 3.0
    assert hours([a, judge], 5, {"a": 3.0, "judge": 4.0}) == 4.0
    assert hours([a, judge], 4, {"a": 3.0, "judge": 1.0}) == 4.0, "no GPU is left beside the source"


def test_steps_of_one_engine_come_one_after_another() -> None:
    a, b = step("a", 4, gang="engine"), step("b", 4, gang="engine")
    assert hours([a, b], 8, {"a": 3.0, "b": 2.0}, load=1.0) == 6.0
