"""Batches of sequences of like length, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

Row = TypeVar("Row", bound=Hashable)
Value = TypeVar("Value")


def length_batches(lengths: Sequence[int], token_budget: int) -> Iterator[list[int]]:
    """Positions in `lengths`, longest first, in batches whose padded size stays within the budget.

    Args:
        token_budget: tokens of a batch, padding included; a sequence that is longer makes a batch of its own.

    Example: list(length_batches([2, 9, 3], 12)) == [[1], [2, 0]]
    """
    return _longest_first(lengths, lambda batch, _: lengths[batch[0]] * (len(batch) + 1) > token_budget)


def alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions in `lengths`, longest first, in batches of which a quarter at most is padding.

    Example: list(alike([8, 40, 6, 38])) == [[1, 3], [0, 2]]
    """
    return _longest_first(lengths, lambda batch, position: lengths[position] < 0.75 * lengths[batch[0]])


def _longest_first(lengths: Sequence[int], is_full: Callable[[list[int], int], bool]) -> Iterator[list[int]]:
    """Batches of positions; one that is full for the next position goes without it."""
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and is_full(batch, position):
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def in_length_batches(
    rows: Iterable[Row],
    length: Callable[[Row], int],
    token_budget: int,
    evaluate: Callable[[list[Row]], Sequence[Value]],
) -> dict[Row, Value]:
    """What `evaluate` says of each distinct row: equal rows are computed once, and so are equal by construction.

    Args:
        evaluate: one value a row of a batch, in order.
    """
    distinct = list(dict.fromkeys(rows))
    found: dict[Row, Value] = {}
    for batch in length_batches([length(row) for row in distinct], token_budget):
        chosen = [distinct[i] for i in batch]
        found |= zip(chosen, evaluate(chosen), strict=True)
    return found
