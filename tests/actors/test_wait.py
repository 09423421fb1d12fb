"""Waiting for nodes is told, with its reason, at growing intervals, and ends."""

from __future__ import annotations

import json

import pytest

from actors.supply import Supply, read_report, why
from actors.wait import Wait
from fusion.errors import EngineError

ASKED = {"GPU": 4.0, "CPU": 8.0}
SMALL = Supply(totals=[{"CPU": 16.0}, {"GPU": 2.0, "CPU": 8.0}], free=[{"CPU": 16.0}, {"CPU": 8.0}])


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def waiting(limit_s: float, clock: Clock, supply: Supply = SMALL) -> tuple[Wait, list[str]]:
    lines: list[str] = []
    return Wait("responses/a", [ASKED], limit_s, lines.append, lambda: supply, clock), lines


def pass_time(wait: Wait, lines: list[str], clock: Clock, until_s: int, missing: int = 2) -> list[float]:
    """Update once a second; returns the moments at which a line came."""
    said = []
    for second in range(int(clock.now), until_s + 1):
        clock.now = float(second)
        before = len(lines)
        wait.update(missing, 2)
        said += [clock.now] * (len(lines) - before)
    return said


def test_a_line_says_what_is_waited_for_why_how_long_and_the_limit() -> None:
    clock = Clock()
    wait, lines = waiting(1800, clock)
    pass_time(wait, lines, clock, 10)
    assert lines == [
        "responses/a: 2 of 2 workers wait for a node since 10 s, up to 1800 s (cluster.ray.resource_wait_s); "
        "each wants 4 GPUs and 8 CPUs; 0 of 2 GPUs and 24 of 24 CPUs are free; no node could ever hold it, and nothing "
        "here starts other nodes"
    ]


def test_lines_come_at_growing_intervals_and_one_says_that_it_is_over() -> None:
    clock = Clock()
    wait, lines = waiting(5000, clock)
    assert pass_time(wait, lines, clock, 1300) == [10, 20, 40, 80, 160, 320, 620, 920, 1220]
    wait.update(0, 2)
    assert lines[-1] == "responses/a: has its nodes after 1300 s"


def test_a_short_wait_is_not_worth_a_word() -> None:
    clock = Clock()
    wait, lines = waiting(1800, clock)
    pass_time(wait, lines, clock, 9)
    wait.update(0, 2)
    clock.now = 15.0  # the next wait counts from its own begin
    wait.update(1, 2)
    assert lines == []


def test_at_the_limit_the_step_fails_with_the_remedy() -> None:
    clock = Clock()
    wait, lines = waiting(30, clock)
    with pytest.raises(EngineError, match="no node gave 4 GPUs and 8 CPUs within 30 s; .*raise cluster.ray"):
        pass_time(wait, lines, clock, 40)
    assert clock.now == 31.0


def test_those_that_have_a_node_go_on_without_the_others() -> None:
    clock = Clock()
    wait, lines = waiting(30, clock)
    pass_time(wait, lines, clock, 90, missing=1)
    assert "1 of 2 workers wait for a node since 80 s, the others work;" in lines[-1]


def test_a_head_that_does_not_answer_does_not_end_the_wait() -> None:
    def silent() -> Supply:
        raise TimeoutError("no answer")

    clock, lines = Clock(), list[str]()
    wait = Wait("responses/a", [ASKED], 1800, lines.append, silent, clock)
    pass_time(wait, lines, clock, 10)
    assert "the cluster does not say what it has" in lines[0]


@pytest.mark.parametrize(
    ("supply", "reason"),
    [
        (Supply(totals=[ASKED], free=[{}]), "all nodes that could hold it are busy"),
        (Supply(totals=[ASKED], free=[ASKED]), "a node has room for it"),
        (Supply(is_elastic=True), "no node that is up could hold it; the autoscaler was asked and starts none yet"),
        (Supply(is_elastic=True, coming=(("gpu-8", 2),)), "nodes are starting: 2 x gpu-8"),
        (Supply(is_elastic=True, refused=[ASKED]), "no node type of this cluster could ever hold it"),
        (Supply(is_elastic=True, refused=[{"GPU": 64.0}], failed=("gpu-8: no quota",)), "asked and failed: gpu-8: no"),
    ],
)
def test_the_reason(supply: Supply, reason: str) -> None:
    assert reason in why(ASKED, supply)


def test_a_report_of_an_autoscaler_tells_what_starts_and_what_could_not() -> None:
    """As Ray 2.60 wrote it for a cluster with one node starting and one type that the cloud had none of."""
    report = {
        "autoscaler_report": {
            "active_nodes": {"head": 1},
            "pending_nodes": [["10.0.0.7", "gpu-8", "setting-up"]],
            "pending_launches": {"gpu-8": 2},
            "node_availability_summary": {
                "node_availabilities": {
                    "gpu-8-spot": {
                        "is_available": False,
                        "unavailable_node_information": {"category": "Capacity", "description": "no spot capacity"},
                    },
                    "cpu": {"is_available": True, "unavailable_node_information": None},
                }
            },
        }
    }
    told = read_report(json.dumps(report).encode())
    assert (told.is_elastic, told.coming, told.failed) == (True, (("gpu-8", 3),), ("gpu-8-spot: no spot capacity",))


def test_a_report_of_nodes_that_nobody_starts_is_no_autoscaler() -> None:
    report = {"autoscaler_report": {"active_nodes": {"node_0f3c": 1}, "pending_launches": {}}}
    assert not read_report(json.dumps(report).encode()).is_elastic
    assert not read_report(None).is_elastic
