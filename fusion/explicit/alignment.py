"""Which tokens of one tokenizer go with which of another, over the same text.

Two ways. `byte_offsets`, in linear time: tokens go together where their bytes overlap. `edit_distance`, the papers'
dynamic programming over pieces (FuseLLM, arXiv 2401.10491, section 3.2; FuseChat, arXiv 2408.07990), in quadratic
time. Source is the model whose distributions are carried over, pivot the model that they are carried to.

Shapes: S source tokens, P pivot tokens, L links between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.choice import Choice
from fusion.explicit.spans import Spans
from fusion.explicit.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np


class AlignmentMode(Choice):
    """How tokens of two tokenizers are put together."""

    BYTE_OFFSETS = "byte_offsets"
    """Exact spans; linear in the length of the text."""
    EDIT_DISTANCE = "edit_distance"
    """The papers' dynamic programming; quadratic."""


@dataclass(frozen=True)
class Alignment:
    """The source tokens that go with each pivot token: a range [start, stop), and ranges never step back.

    A range is empty where a pivot token has no counterpart (only special tokens may not). Neighbouring pivot tokens
    that share a source token have ranges that overlap.

    Example: `[I][ntern][al]` on `[Internal]` is Alignment(starts=[0], stops=[3], num_source=3)
    """

    starts: np.ndarray
    """int64 [P]."""
    stops: np.ndarray
    """int64 [P]."""
    num_source: int

    def links(self) -> tuple[np.ndarray, np.ndarray]:
        """(pivot positions, source positions), each int64 [L], in order."""
        import numpy as np

        counts = self.stops - self.starts
        pivot = np.repeat(np.arange(len(counts)), counts)
        before = np.repeat(counts.cumsum() - counts, counts)
        return pivot, np.repeat(self.starts, counts) + np.arange(len(pivot)) - before

    def groups(self) -> list[tuple[range, range]]:
        """(source positions, pivot positions) that hang together, in order, each position exactly once; where a
        position has no counterpart its group has one empty side."""
        found: list[tuple[range, range]] = []
        done = 0  # source positions in groups
        for pivot, (start, stop) in enumerate(zip(self.starts.tolist(), self.stops.tolist(), strict=True)):
            if start < min(stop, done):  # shares a token with the group before it
                source, pivots = found[-1]
                found[-1] = (range(source.start, max(source.stop, stop)), range(pivots.start, pivot + 1))
            else:
                if start > done:
                    found.append((range(done, start), range(pivot, pivot)))
                found.append((range(start, stop), range(pivot, pivot + 1)))
            done = max(done, stop)
        if done < self.num_source:
            found.append((range(done, self.num_source), range(len(self.starts), len(self.starts))))
        return found


def align(source: Spans, pivot: Spans, vocabularies: tuple[Vocabulary, Vocabulary], mode: AlignmentMode) -> Alignment:
    """Align the tokens of one text.

    Args:
        vocabularies: source's and pivot's.
    """
    if mode is AlignmentMode.BYTE_OFFSETS:
        return by_bytes(source, pivot)
    from fusion.explicit.edit_distance import by_edit_distance

    words = [[v.pieces[i] for i in s.ids.tolist()] for s, v in zip((source, pivot), vocabularies, strict=True)]
    return by_edit_distance(words[0], words[1])


def by_bytes(source: Spans, pivot: Spans) -> Alignment:
    """Tokens go together where their bytes overlap, so equal spans are always matched, one to one.

    Tokens of no width before the text (beginning of sequence) are paired from the text outwards, those after it (end of
    turn) likewise; what one side has more of stands alone, and so do tokens of no width inside the text.
    """
    import numpy as np

    s_head, s_tail = _margins(source)
    p_head, p_tail = _margins(pivot)
    tail = len(source) - s_tail
    s_ends, p_ends = source.ends[s_head:tail], pivot.ends[p_head : len(pivot) - p_tail]
    p_starts = pivot.starts[p_head : len(pivot) - p_tail]
    starts = np.searchsorted(s_ends, p_starts, side="right") + s_head
    stops = np.maximum(np.searchsorted(s_ends, p_ends, side="left") + 1 + s_head, starts)
    heads = np.arange(s_head - p_head, s_head)
    tails = np.arange(tail, tail + p_tail)
    return Alignment(
        np.concatenate([heads.clip(min=0), starts, tails.clip(max=len(source))]),
        np.concatenate([(heads + 1).clip(min=0), stops, (tails + 1).clip(max=len(source))]),
        len(source),
    )


def contexts(source: Spans, pivot: Spans) -> np.ndarray:
    """For each pivot token, the source token before which the source had read the very same bytes, int64 [P]; -1: none.

    The source's distribution at that token and the pivot's at this one predict what follows the same text. Of several
    source tokens that begin there (all but the last have no width) the last counts.
    """
    import numpy as np

    starts = source.starts
    found = np.searchsorted(starts, pivot.starts, side="right") - 1
    return np.where(starts[found] == pivot.starts, found, -1)


def _margins(spans: Spans) -> tuple[int, int]:
    """Tokens of no width before and after the text."""
    import numpy as np

    head = int(np.searchsorted(spans.ends, 0, side="right"))
    total = int(spans.ends[-1]) if len(spans) else 0
    return head, 0 if head == len(spans) else len(spans) - 1 - int(np.searchsorted(spans.ends, total, side="left"))
