"""Stored distributions as arrays, and how they are carried over to another tokenizer.

The entry for token t is what a model expected before it read t. A source's entry is carried to a pivot's where both had
read the very same bytes (`alignment.contexts`): there both speak of what follows. That is the papers' rule by another
road: they take the source's distribution after the last token aligned with a pivot token, if both tokens end alike.

Shapes: S source tokens, P pivot tokens, k candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fusion.explicit.alignment import Alignment, contexts
from fusion.explicit.spans import Spans, spans
from fusion.explicit.vocabulary import Vocabulary

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Expected:
    """One model's TOKEN_DISTRIBUTION row."""

    token_ids: np.ndarray
    """int64 [T]."""
    logprobs: np.ndarray
    """float64 [T]."""
    top_ids: np.ndarray
    """int64 [T, k]; -1: no candidate."""
    top_logprobs: np.ndarray
    """float64 [T, k]; -inf: no candidate."""
    num_bytes: int

    @classmethod
    def of(cls, row: Mapping[str, object]) -> Expected:
        import numpy as np

        token_ids = np.asarray(row["token_ids"], dtype=np.int64)
        shape = (len(token_ids), -1)
        return cls(
            token_ids,
            np.asarray(row["logprobs"], dtype=np.float64),
            np.asarray(row["top_ids"], dtype=np.int64).reshape(shape),
            np.asarray(row["top_logprobs"], dtype=np.float64).reshape(shape),
            int(str(row["num_bytes"])),
        )


def probabilities(top_logprobs: np.ndarray, temperature: float, keeps_residual: bool) -> np.ndarray:
    """Probabilities of the candidates [T, k]; they add up to 1 or to what is stored of 1, to 0 without candidates.

    The temperature acts among the candidates: what a kept residual has of 1 it has at every temperature.
    """
    import numpy as np

    scaled = top_logprobs / temperature
    best = scaled.max(axis=1, keepdims=True)
    weights = np.exp(scaled - np.where(np.isfinite(best), best, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    mass = np.exp(top_logprobs).sum(axis=1, keepdims=True) if keeps_residual else 1.0
    return np.asarray(mass * weights / np.where(total > 0, total, 1.0))


def response_spans(text: str, ids: np.ndarray, vocabulary: Vocabulary) -> Spans:
    """Spans of a response whose last token is its end of turn.

    Raises:
        SpanError: the tokens before it do not spell the text.
    """
    import numpy as np

    inner = spans(text, ids[:-1], vocabulary)
    ends = np.append(inner.ends, inner.ends[-1] if len(inner) else 0)
    return Spans(np.append(inner.ids, ids[-1]), ends, np.append(inner.is_special, True))


def carried(source: Expected, at: np.ndarray, token_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The source's candidates at each pivot token: pivot ids int64 [P, k] and log-probabilities float64 [P, k].

    Unmapped candidates are left out (-1, -inf), and so are outputs that are no token: an output matrix may be padded.
    Of several that become one pivot token the likeliest counts.

    Args:
        at: source position of each pivot position [P]; -1: none.
        token_map: see `fusion.explicit.token_map`.
    """
    import numpy as np

    taken = source.top_ids[at]
    is_token = (taken >= 0) & (taken < len(token_map)) & (at >= 0)[:, None]
    ids = np.where(is_token, token_map[np.where(is_token, taken, 0)], -1)
    for k in range(1, ids.shape[1]):
        repeated = (ids[:, :k] == ids[:, k : k + 1]).any(axis=1)
        ids[repeated, k] = -1
    return ids, np.where(ids < 0, -np.inf, source.top_logprobs[at])


def places(source: Spans, pivot: Spans) -> np.ndarray:
    """By bytes: the source position whose entry each pivot position takes, int64 [P]; -1: none."""
    return contexts(source, pivot)


def places_by_pieces(
    alignment: Alignment, source: Spans, pivot: Spans, vocabularies: tuple[Vocabulary, Vocabulary]
) -> np.ndarray:
    """The papers' rule, on any alignment: a pivot token takes the entry after the last source token aligned with the
    token before it, if one of these two pieces ends with the other. The first tokens go together.

    Simplified from FuseChat's code: of one source token against several pivot tokens, those that end like it match;
    its further test, that the pieces put together spell the token, is what byte offsets answer exactly.
    """
    import numpy as np

    found = np.full(len(pivot), -1, dtype=np.int64)
    if not len(pivot) or not alignment.num_source:
        return found
    found[0] = 0
    for j in range(len(pivot) - 1):
        last = int(alignment.stops[j]) - 1
        if last < int(alignment.starts[j]) or last + 1 >= len(source):
            continue
        one = vocabularies[0].pieces[int(source.ids[last])]
        other = vocabularies[1].pieces[int(pivot.ids[j])]
        if one.endswith(other) or other.endswith(one):
            found[j + 1] = last + 1
    return found
