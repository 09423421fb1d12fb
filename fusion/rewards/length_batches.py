"""Batches of sequences of like length, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def length_batches(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Positions in `lengths`, longest first, in batches whose padded size stays within the budget.

    Args:
        token_budget: tokens of a batch, padding included; a sequence that is longer makes a batch of its own.

    Example: list(length_batches([2, 9, 3], 12)) == [[1], [2, 0]]
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > token_budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch
