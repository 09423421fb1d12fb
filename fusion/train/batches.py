"""Which rows make up which optimiser step, and which process gets which of them.

The order of the rows follows from the seed and their keys alone. Epochs are laid end to end and cut into global
batches, so only the very last batch can be short; rows of one prompt that share a weight stay together, and then a
batch ends before a prompt that does not fit. Inside a batch, rows are dealt out by length: the rows of one
micro-batch are about equally long, which saves padding and changes nothing else, because a batch's loss is summed
over all processes and divided once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.errors import ConfigError
from fusion.schema import hash_text
from fusion.train.config import TrainingConfig


@dataclass(frozen=True)
class BatchPlan:
    """The whole course of training, over all epochs.

    `steps[s]` holds the row numbers of optimiser step s, in order of length; -1 fills up a short last batch.
    """

    steps: tuple[tuple[int, ...], ...]
    micro_batch_size: int
    accumulation: int
    world_size: int

    def micro_batches(self, rank: int) -> list[tuple[int, list[int]]]:
        """(step, row numbers) of each forward pass of one process; every process has equally many."""
        size = self.micro_batch_size
        batches = []
        for step, rows in enumerate(self.steps):
            for i in range(self.accumulation):
                start = (i * self.world_size + rank) * size
                batches.append((step, list(rows[start : start + size])))
        return batches


def plan_batches(
    keys: Sequence[str],
    lengths: Sequence[int],
    config: TrainingConfig,
    world_size: int,
    groups: Sequence[str] | None = None,
) -> BatchPlan:
    """Lay out all steps.

    Args:
        keys: distinct key of each row.
        lengths: tokens of each row.
        groups: rows of one group stand in one step, which may then be short of `global_batch_size`; None: every row is
            its own.

    Raises:
        ConfigError: a group is larger than a step.
    """
    size = config.global_batch_size
    micro_batch = config.micro_batch(world_size)
    members: dict[str, list[int]] = {}
    for row, group in enumerate(keys if groups is None else groups):
        members.setdefault(group, []).append(row)
    order: list[list[int]] = []
    for epoch in range(config.epochs):
        shuffled = sorted(members, key=lambda group: hash_text(str(config.seed), str(epoch), group))
        order += [members[group] for group in shuffled]
    steps = [
        _filled(sorted(rows, key=lambda row: (lengths[row], keys[row])), size, micro_batch)
        for rows in _packed(order, size)
    ]
    return BatchPlan(tuple(steps), micro_batch, config.accumulation(world_size), world_size)


def _packed(groups: Sequence[list[int]], size: int) -> list[list[int]]:
    """Groups in order, as many to a step as fit."""
    steps: list[list[int]] = [[]]
    for group in groups:
        if len(group) > size:
            raise ConfigError(
                f"a prompt has {len(group)} weighted rows and an optimiser step takes {size}; set global_batch_size to "
                f"{len(group)} or more"
            )
        if len(steps[-1]) + len(group) > size:
            steps.append([])
        steps[-1] += group
    return [rows for rows in steps if rows]


def _filled(rows: list[int], size: int, micro_batch_size: int) -> tuple[int, ...]:
    """`size` entries: rows spread over the micro-batches in order, the gaps filled with -1."""
    num_micro = size // micro_batch_size
    filled: list[int] = []
    for i in range(num_micro):
        part = rows[i * len(rows) // num_micro : (i + 1) * len(rows) // num_micro]
        filled += part + [-1] * (micro_batch_size - len(part))
    return tuple(filled)
