"""Which checkpoints are compared."""

from __future__ import annotations

import pytest

from fusion.errors import ConfigError
from fusion.train.config import CheckpointChoice


@pytest.mark.parametrize(
    ("num_steps", "candidates"),
    [
        (501, (400, 500)),  # FuseChat-3.0: 64,128 pairs in batches of 128
        (500, (400, 500)),
        (200, (100, 200)),
        (199, (100, 199)),  # one multiple of 100: the last step is the other
        (100, (100,)),
        (7, (7,)),
    ],
)
def test_the_last_two_multiples_are_candidates(num_steps: int, candidates: tuple[int, ...]) -> None:
    assert CheckpointChoice(every_steps=100, of_last=2).candidates(num_steps) == candidates


def test_one_candidate_is_no_choice() -> None:
    assert CheckpointChoice(of_last=1).candidates(501) == ()
    with pytest.raises(ConfigError, match="of_last=1 keeps the last"):
        CheckpointChoice(of_last=0)
