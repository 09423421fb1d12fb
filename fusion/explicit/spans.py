"""Which bytes of a text each of its tokens covers.

Tokens tile the text: one begins where the one before it ends, so their ends say everything. Special tokens cover
nothing. Every result is checked: the pieces, put together, are the text's own bytes, or what the tokenizer makes of
them (`Vocabulary.canonical`); a text that a tokenizer cannot spell (an unknown token) is refused, not guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.errors import FusionError
from fusion.explicit.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np


class SpanError(FusionError):
    """The tokens of a text do not spell it."""


@dataclass(frozen=True)
class Spans:
    """Tokens of one text.

    Example: the ids of "a你" as bytes, Spans(ids=[64, 160, 121, 254], ends=[1, 2, 3, 4])
    """

    ids: np.ndarray
    """int64 [T]."""
    ends: np.ndarray
    """Byte offset in the text after each token, int64 [T], never decreasing."""
    is_special: np.ndarray
    """Bool [T]: covers no text."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def starts(self) -> np.ndarray:
        """Byte offset before each token, int64 [T]."""
        import numpy as np

        return np.asarray(np.concatenate([np.zeros(1, dtype=np.int64), self.ends])[:-1])


def spans(text: str, ids: Sequence[int] | np.ndarray, vocabulary: Vocabulary) -> Spans:
    """Byte spans of `ids`, which are the tokens of `text`, special tokens before, after or among them.

    Raises:
        SpanError: they do not spell the text; says where.
    """
    import numpy as np

    numbers = np.asarray(ids, dtype=np.int64)
    if numbers.size and (numbers.min() < 0 or numbers.max() >= len(vocabulary)):
        raise SpanError(f"token id {numbers.max()} is outside a vocabulary of {len(vocabulary)}")
    is_special = vocabulary.is_special[numbers]
    data = text.encode()
    lengths = vocabulary.lengths[numbers]
    pieces = vocabulary.pieces
    joined = b"".join([pieces[number] for number in numbers[~is_special].tolist()])
    if joined == data:
        return Spans(numbers, lengths.cumsum(), is_special)
    spelled = vocabulary.prefix + vocabulary.canonical(text).encode()
    if joined == spelled:
        where = _offsets(text, vocabulary)
        return Spans(numbers, where[lengths.cumsum()], is_special)
    return Spans(numbers, _walk(data, numbers, vocabulary), is_special)


def _offsets(text: str, vocabulary: Vocabulary) -> np.ndarray:
    """For each byte offset of prefix + canonical text, the offset in the text; int64.

    Where the canonical form changes characters (a letter and its accent become one), offsets inside the change have no
    counterpart: they count as its end.
    """
    import numpy as np

    changes: list[tuple[int, int, int]] = []  # where in the canonical text, bytes there, bytes here
    at = len(vocabulary.prefix)
    for line in text.splitlines(keepends=True):
        clusters = [line] if vocabulary.canonical(line) == line else _clusters(line, vocabulary)
        for cluster in clusters:
            old, new = cluster.encode(), vocabulary.canonical(cluster).encode()
            if old != new:
                changes.append((at, len(new), len(old)))
            at += len(new)
    widths = np.ones(at, dtype=np.int64)
    widths[: len(vocabulary.prefix)] = 0
    for start, num_new, num_old in changes:
        widths[start] = num_old
        widths[start + 1 : start + num_new] = 0
    return np.concatenate([np.zeros(1, dtype=np.int64), widths.cumsum()])


def _clusters(text: str, vocabulary: Vocabulary) -> list[str]:
    """The text cut wherever the canonical form of the whole is that of the parts put together."""
    clusters: list[str] = []
    for char in text:
        if clusters and char > "\x7f":
            last = clusters[-1]
            if vocabulary.canonical(last + char) != vocabulary.canonical(last) + vocabulary.canonical(char):
                clusters[-1] = last + char
                continue
        clusters.append(char)
    return clusters


def _walk(data: bytes, ids: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Ends token by token, for tokens that swallow white space and special tokens that are written out in the text."""
    import numpy as np

    at, ends = 0, list[int]()
    for place, number in enumerate(ids.tolist()):
        piece = vocabulary.pieces[number]
        if number in vocabulary.strips or (place and int(ids[place - 1]) in vocabulary.strips):
            while not data.startswith(piece, at) and data[at : at + 1].isspace():
                at += 1
                if ends:
                    ends[-1] = at
        if data.startswith(piece, at):
            at += len(piece)
        elif place == 0 and vocabulary.prefix and data.startswith(piece.removeprefix(vocabulary.prefix)):
            at += len(piece) - len(vocabulary.prefix)
        elif number not in vocabulary.special:
            raise SpanError(
                f"token {place} ({number}, {piece!r}) does not continue the text at byte {at}, "
                f"{data[at : at + 20]!r}; this tokenizer cannot spell it, or its ids are another text's"
            )
        ends.append(at)
    if at != len(data):
        raise SpanError(f"the tokens end at byte {at} of {len(data)}: {data[at : at + 20]!r} is left")
    return np.asarray(ends, dtype=np.int64)
