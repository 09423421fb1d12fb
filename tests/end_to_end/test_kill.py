"""kill -9 of each kind of process, then the same command: nothing lost, nothing doubled, nothing done twice.

Every run is compared byte for byte with an undisturbed one, which the batch-invariant generator makes possible. These
are a few points of the many that `make chaos` goes through.
"""

from __future__ import annotations

import pytest

from tests.end_to_end.chaos.calm import Calm
from tests.end_to_end.chaos.endure import endure
from tests.end_to_end.chaos.plan import Point

pytestmark = pytest.mark.slow

POINTS = (
    Point("kill SourceActor", "generate", 0.3),
    Point("kill RewardActor", "score", 0.3),
    Point("kill RayTrainWorker", "sft", 0.5),
    Point("kill driver", "generate", 0.5),
    Point("interrupt driver", "generate", 0.2),
)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.name)
def test_after_harm_the_same_command_makes_the_same(point: Point, calm: Calm) -> None:
    aftermath = endure(point, calm, None)
    assert not aftermath.wrong, aftermath.wrong
