"""A process, a node or the whole run is killed, stopped or told to leave; then the same command: all is as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.end_to_end.chaos.calm import Calm
from tests.end_to_end.chaos.endure import endure
from tests.end_to_end.chaos.plan import Point, points

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(p, marks=pytest.mark.soak, id=p.name) if p.is_further else pytest.param(p, id=p.name)
        for p in points()
    ],
)
def test_after_harm_the_same_command_makes_the_same(
    point: Point, calm: Calm, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> None:
    nodes = request.getfixturevalue("ray_nodes") if point.joins else None
    aftermath = endure(point, calm, nodes)
    record_property(point.name, str(aftermath))
    assert not aftermath.wrong, aftermath.wrong
