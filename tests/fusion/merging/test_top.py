"""The k largest without sorting, against a sort."""

from __future__ import annotations

import pytest
import torch

from fusion.merging.top import tops


@pytest.mark.parametrize("k", [0, 1, 2, 137, 999, 1000, 5000])
@pytest.mark.parametrize("spread", [1e-30, 1.0, 1e30])
def test_it_takes_what_a_sort_takes(k: int, spread: float) -> None:
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * spread
    pieces = values.split(170)
    [found] = tops(lambda: (piece.unsqueeze(0) for piece in pieces), [lambda total, nonzero: k])
    taken = torch.cat([found.take(piece) for piece in pieces])
    expected = torch.zeros(1000, dtype=torch.bool)
    expected[values.sort(descending=True, stable=True).indices[:k]] = True
    assert taken.equal(expected)


def test_of_equal_numbers_the_first_are_taken() -> None:
    pieces = [torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 3.0, 1.0, 0.0])]
    [found] = tops(lambda: (piece.unsqueeze(0) for piece in pieces), [lambda total, nonzero: 4])
    assert [found.take(piece).tolist() for piece in pieces] == [[True, True, True], [False, True, False, False]]


def test_rows_are_apart_and_zeros_are_counted() -> None:
    rows = torch.tensor([[0.0, 5.0, 0.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    seen = []

    def k(total: int, nonzero: int) -> int:
        seen.append((total, nonzero))
        return nonzero // 2

    found = tops(lambda: iter([rows]), [k, k])
    assert seen == [(4, 2), (4, 4)]
    assert [one.take(row).tolist() for one, row in zip(found, rows, strict=True)] == [
        [False, True, False, False],
        [False, False, True, True],
    ]
