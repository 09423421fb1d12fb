"""Token alignment of real tokenizers: bytes against the papers' dynamic programming, in one run and one thread.

    python -m tests.benchmarks.bench_align

For English, Chinese and code, over all pairs of the tokenizers at hand: source tokens a second of one core (time of the
process, so that neighbours on the machine do not count) of `by_bytes` (ids to
spans, checked against the text, to links to counts; tokenisation aside), the same with both tokenizers' own time, those
of the dynamic programming as it is written down and as `by_edit_distance` does it, and how far the two ways agree.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")

import time
from collections.abc import Sequence
from itertools import permutations

from fusion.explicit.alignment import AlignmentMode, align, by_bytes
from fusion.explicit.counts import count_links
from fusion.explicit.spans import spans
from fusion.explicit.tokenizers import TextTokenizer
from tests.fusion.explicit import dp_reference
from tests.fusion.explicit.real_tokenizers import NAMES, text, tokenizer

KINDS = ("english", "chinese", "code")
DOCUMENT_CHARS = 2_000
DP_CHARS = 6_000
"""The program as written takes minutes for more."""


def main() -> None:
    print(f"tokenizers: {', '.join(NAMES)}; {len(NAMES) * (len(NAMES) - 1)} ordered pairs")
    for name in NAMES:
        assert len(tokenizer(name).vocabulary.lengths)  # made at first use
    for kind in KINDS:
        documents = _documents(text(kind, 60_000))
        speeds = [_speeds(tokenizer(a), tokenizer(b), documents) for a, b in permutations(NAMES, 2)]
        aligned, whole = ([speed[i] for speed in speeds] for i in (0, 1))
        print(
            f"{kind:8} by bytes   {min(aligned):>12,.0f} tokens/s (slowest pair), {_median(aligned):,.0f} (median); "
            f"with both tokenizers {min(whole):,.0f}, {_median(whole):,.0f}"
        )
        reference, ours, agreement = _against_dp(tokenizer("llama3_1"), tokenizer("gemma3"), text(kind)[:DP_CHARS])
        print(
            f"{kind:8} dynamic    {reference:>12,.0f} tokens/s as written, {ours:,.0f} in numpy; "
            f"ratio {min(aligned) / reference:,.0f} and {min(aligned) / ours:,.0f}; {agreement:.1%} of links agree"
        )


def _documents(whole: str) -> list[str]:
    return [whole[i : i + DOCUMENT_CHARS] for i in range(0, len(whole), DOCUMENT_CHARS)]


def _speeds(source: TextTokenizer, pivot: TextTokenizer, documents: Sequence[str]) -> tuple[float, float]:
    """Source tokens a second: alignment alone, and with both tokenizers at work."""
    began = time.process_time()
    ids = [(source.ids_of(document), pivot.ids_of(document)) for document in documents]
    encoded = time.process_time()
    for document, (own, other) in zip(documents, ids, strict=True):
        one, two = spans(document, own, source.vocabulary), spans(document, other, pivot.vocabulary)
        count_links(one, two, by_bytes(one, two))
    ended = time.process_time()
    num_tokens = sum(len(own) for own, _ in ids)
    return num_tokens / (ended - encoded), num_tokens / (ended - began)


def _against_dp(source: TextTokenizer, pivot: TextTokenizer, whole: str) -> tuple[float, float, float]:
    """Tokens a second of both programs, and the share of links that bytes and edit distances have in common."""
    one, two = source.encode(whole), pivot.encode(whole)
    pieces = [[t.vocabulary.pieces[i] for i in s.ids.tolist()] for t, s in ((source, one), (pivot, two))]
    began = time.process_time()
    lists = dp_reference.align(*pieces)
    written = time.process_time()
    align(one, two, (source.vocabulary, pivot.vocabulary), AlignmentMode.EDIT_DISTANCE)
    ended = time.process_time()
    exact = set(zip(*(side.tolist() for side in by_bytes(one, two).links()), strict=True))
    papers = {(j, i) for j, sources in enumerate(lists) for i in sources}
    agreement = len(exact & papers) / len(exact | papers)
    return len(one) / (written - began), len(one) / (ended - written), agreement


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
