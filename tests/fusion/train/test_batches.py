"""What makes up an optimiser step."""

from __future__ import annotations

import random

import pytest

from fusion.errors import ConfigError
from fusion.train.batches import BatchPlan, plan_batches
from fusion.train.config import Execution, SftConfig

KEYS = [f"key{i}" for i in range(21)]
LENGTHS = [(7 * i) % 13 + 1 for i in range(21)]


def config(**changes: object) -> SftConfig:
    execution = Execution(micro_batch_size=int(str(changes.pop("micro_batch_size", 2))))
    return SftConfig(**{"global_batch_size": 8, "epochs": 2, "execution": execution} | changes)  # type: ignore[arg-type]


def rows_of_steps(plan: BatchPlan, keys: list[str]) -> list[list[str]]:
    return [sorted(keys[row] for row in step if row >= 0) for step in plan.steps]


def test_every_row_is_seen_once_an_epoch() -> None:
    plan = plan_batches(KEYS, LENGTHS, config(), world_size=1)
    seen = [row for step in plan.steps for row in step if row >= 0]
    assert sorted(seen) == sorted([*range(21), *range(21)])
    assert len(set(seen[:16])) == 16  # the first two steps lie in the first epoch


def test_the_number_of_processes_changes_no_step() -> None:
    one = plan_batches(KEYS, LENGTHS, config(), world_size=1)
    four = plan_batches(KEYS, LENGTHS, config(), world_size=4)
    assert one.steps == four.steps
    shared = [batch for rank in range(4) for batch in four.micro_batches(rank)]
    assert sorted(shared) == sorted(one.micro_batches(0))


def test_all_processes_run_equally_many_forwards() -> None:
    plan = plan_batches(KEYS[:3], LENGTHS[:3], config(epochs=1), world_size=4)
    assert {len(plan.micro_batches(rank)) for rank in range(4)} == {1}


def test_the_order_of_the_rows_in_their_table_changes_no_step() -> None:
    order = list(range(21))
    random.Random(1).shuffle(order)
    keys, lengths = [KEYS[i] for i in order], [LENGTHS[i] for i in order]
    assert rows_of_steps(plan_batches(keys, lengths, config(), 1), keys) == rows_of_steps(
        plan_batches(KEYS, LENGTHS, config(), 1), KEYS
    )


def test_another_seed_gives_another_order() -> None:
    assert plan_batches(KEYS, LENGTHS, config(seed=1), 1) != plan_batches(KEYS, LENGTHS, config(seed=2), 1)


def test_rows_of_a_micro_batch_are_about_equally_long() -> None:
    plan = plan_batches(KEYS, LENGTHS, config(), world_size=1)
    widths = [[LENGTHS[row] for row in rows if row >= 0] for _, rows in plan.micro_batches(0)]
    padded = sum(max(width) * len(width) for width in widths if width)
    assert padded / sum(map(sum, widths)) < 1.2


def test_only_the_last_batch_is_short() -> None:
    plan = plan_batches(KEYS, LENGTHS, config(), world_size=1)
    assert [sum(row >= 0 for row in step) for step in plan.steps] == [8, 8, 8, 8, 8, 2]


def test_rows_of_a_group_stand_in_one_step_and_a_step_ends_before_one_that_does_not_fit() -> None:
    groups = [f"prompt{i // 3}" for i in range(21)]
    plan = plan_batches(KEYS, LENGTHS, config(), 1, groups)
    for step in plan.steps:
        inside = [groups[row] for row in step if row >= 0]
        assert len(inside) <= 8
        assert {inside.count(group) for group in inside} == {3}
    seen = [row for step in plan.steps for row in step if row >= 0]
    assert sorted(seen) == sorted([*range(21), *range(21)])


def test_rows_that_are_alone_are_laid_out_as_ever() -> None:
    assert plan_batches(KEYS, LENGTHS, config(), 2, KEYS) == plan_batches(KEYS, LENGTHS, config(), 2)


def test_a_group_that_is_larger_than_a_step_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match="global_batch_size to 21 or more"):
        plan_batches(KEYS, LENGTHS, config(), 1, ["prompt"] * 21)


def test_a_batch_that_cannot_be_dealt_out_is_refused_with_the_numbers() -> None:
    with pytest.raises(ConfigError, match="global_batch_size 8 is not a multiple of the 3 training processes"):
        plan_batches(KEYS, LENGTHS, config(), world_size=3)


@pytest.mark.parametrize(("most", "world_size", "size"), [(8, 1, 8), (8, 2, 4), (3, 1, 2), (5, 2, 4), (1, 1, 1)])
def test_the_micro_batch_divides_each_process_share(most: int, world_size: int, size: int) -> None:
    settings = config(micro_batch_size=most)
    assert settings.global_batch_size == 8
    assert settings.micro_batch(world_size) == size
    assert settings.accumulation(world_size) * size * world_size == 8
