"""The k largest of many numbers, exactly, without holding or sorting them.

Bits of non-negative fp32 numbers sort as the numbers do. One pass counts their upper 16 bits, a second the lower 16
within the one bin where the k-th largest lies; that gives its value. Numbers equal to it are taken in the order of the
tensor until there are k: which of them a method takes is open in every paper, and here it does not depend on chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BINS = 2**16


@dataclass
class Top:
    """The k largest. `take` is called chunk by chunk, in order, each chunk once."""

    threshold: int
    """Bits of the k-th largest number."""
    ties: int
    """How many numbers equal to it are still to be taken."""

    def take(self, values: Tensor) -> Tensor:
        """[n] bool: which of the next `values` (fp32, not negative) are among the k."""
        import torch

        bits = values.view(torch.int32)
        taken = bits > self.threshold
        if self.ties:
            equal = (bits == self.threshold).nonzero().squeeze(1)[: self.ties]
            taken[equal] = True
            self.ties -= len(equal)
        return taken


NONE = 2**31 - 1
"""A threshold that no number reaches."""


def tops(chunks: Callable[[], Iterator[Tensor]], k_of: Sequence[Callable[[int, int], int]]) -> list[Top]:
    """Find the largest numbers of each row of `chunks()`, which is gone over twice.

    Args:
        chunks: [R, n] fp32 and not negative: R rows in pieces.
        k_of: a row's (how many numbers there are, how many of them are not zero) -> k.
    """
    import torch

    upper_RB = torch.zeros(len(k_of), BINS, dtype=torch.int64)
    zeros_R = torch.zeros(len(k_of), dtype=torch.int64)
    for values_Rn in chunks():
        zeros_R += values_Rn.shape[1] - values_Rn.count_nonzero(dim=1)
        for row, values_n in enumerate(values_Rn):
            upper_RB[row] += torch.bincount(values_n.view(torch.int32) >> 16, minlength=BINS)
    wanted, bins = [], []
    for row, k in enumerate(k_of):
        total = int(upper_RB[row].sum())
        wanted.append(min(k(total, total - int(zeros_R[row])), total))
        bins.append(_bin(upper_RB[row], wanted[row]) if wanted[row] > 0 else (-1, 0))
    lower_RB = torch.zeros(len(k_of), BINS, dtype=torch.int64)
    for values_Rn in chunks():
        for row, values_n in enumerate(values_Rn):
            bits_n = values_n.view(torch.int32)
            inside = bits_n[(bits_n >> 16) == bins[row][0]]
            lower_RB[row] += torch.bincount(inside & (BINS - 1), minlength=BINS)
    found = []
    for row, (bin_, left) in enumerate(bins):
        rest, ties = _bin(lower_RB[row], left) if wanted[row] > 0 else (0, 0)
        found.append(Top((bin_ << 16) | rest, ties) if wanted[row] > 0 else Top(NONE, 0))
    return found


def _bin(counts: Tensor, k: int) -> tuple[int, int]:
    """The bin of the k-th largest, and how many of that bin are among the k."""
    import torch

    above = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(above, k))
    before = int(above[place - 1]) if place else 0
    return len(counts) - 1 - place, k - before
